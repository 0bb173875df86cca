"""Accuracy and error: how often, or by how much, each model is wrong.

Accuracy needs outputs. Margins do not suffice: a margin above 0 says that the true class has more
than half of the probability, while to be right it only needs more than any other class.
"""

from torch import Tensor

from expunge.audit.evidence.chunks import Array, by_members
from expunge.errors import BadInput


def accuracy(outputs: Array, targets: Tensor) -> Tensor:
    """Share of rows whose largest output is that of the true class; the first of a tie counts.

    Args:
        outputs: (members, rows, C) logits or log-probabilities.
        targets: (rows,) class numbers.

    Returns:
        (members,) shares from 0 to 1, float64.

    Raises:
        BadInput: the shapes do not fit, or there are no rows.
    """
    if len(outputs.shape) != 3 or outputs.shape[1:2] != targets.shape or not len(targets):
        raise BadInput(
            f"outputs of shape {tuple(outputs.shape)}, targets of {tuple(targets.shape)}",
            expected="(members, rows, C) and (rows,), at least one row",
            fix="give outputs, not margins: accuracy cannot be told from margins",
        )
    return by_members(lambda z: (z.argmax(-1) == targets).double().mean(-1), outputs)


def absolute_error(margins: Array) -> Tensor:
    """Mean absolute error of a regression, from its margins z - y.

    Args:
        margins: (members, rows), in the units of the target.

    Returns:
        (members,) errors in the units of the target, float64.

    Raises:
        BadInput: another shape, or no rows.
    """
    if len(margins.shape) != 2 or not margins.shape[1]:
        raise BadInput(
            f"margins of shape {tuple(margins.shape)}",
            expected="(members, rows), at least one row",
            fix="pass the signed errors of a regression, one line per model",
        )
    return by_members(lambda m: m.double().abs().mean(-1), margins)
