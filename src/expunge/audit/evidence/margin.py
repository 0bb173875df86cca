"""Margins: one number a row that says how sure a model is of the truth.

Classification: m = z_y - logsumexp_{c != y} z_c, which is log(p_y / (1 - p_y)), in nats.
Regression: m = z - y, signed, in the units of the target.
Source of the classification margin: Park et al. 2023, TRAK, arXiv 2303.14186, section 2; used for
unlearning by Georgiev et al. 2024, Attribute-to-Delete, arXiv 2410.23232.
"""

import math

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, by_rows, member_cuts
from expunge.errors import BadInput


def classification_margin(outputs: Tensor, targets: Tensor) -> Tensor:
    """Log-odds of the true class: positive exactly where its probability exceeds one half.

    Differentiable, free of control flow on values (so it can be vmapped), and finite for any
    finite logits.

    Args:
        outputs: (..., C) logits or log-probabilities, C >= 2.
        targets: (...) class numbers from 0 to C - 1; missing leading axes are broadcast, so that
            (members, rows, C) outputs take (rows,) targets.

    Returns:
        (...) margins in nats, in the dtype of `outputs`.

    Raises:
        BadInput: there are fewer than two classes.
    """
    classes = outputs.shape[-1]
    if classes < 2:
        raise BadInput(
            f"outputs have {classes} class(es) in their last axis",
            expected="at least 2, since a margin compares the true class with the others",
            fix='give a score for every class, or use kind "regression"',
        )
    index = targets.long().expand(outputs.shape[:-1]).unsqueeze(-1)
    others = outputs.scatter(-1, index, -math.inf)
    return outputs.gather(-1, index).squeeze(-1) - others.logsumexp(-1)


def regression_margin(outputs: Tensor, targets: Tensor) -> Tensor:
    """Signed error z - y; its absolute value is the absolute error.

    Args:
        outputs: (..., 1) or (...) predictions.
        targets: (...) true values, of exactly the leading shape of `outputs`.

    Returns:
        (...) margins in the units of the target, in the dtype of `outputs`.

    Raises:
        BadInput: the shapes differ; broadcasting (B,) against (B, 1) would silently give (B, B).
    """
    if outputs.shape == (*targets.shape, 1):
        outputs = outputs.squeeze(-1)
    if outputs.shape != targets.shape:
        raise BadInput(
            f"outputs of shape {tuple(outputs.shape)} with targets of {tuple(targets.shape)}",
            expected="one prediction a target: outputs shaped as the targets, or with one more "
            "axis of length 1",
            fix="squeeze or expand one of the two",
        )
    return outputs - targets.to(outputs.dtype)


def margins(values: Tensor, targets: Tensor | None, kind: str) -> Tensor:
    """Margins of many models on many rows, whether outputs or margins were stored.

    Args:
        values: (members, rows, C) outputs (C = 1 for regression), or (members, rows) values that
            are margins already.
        targets: (rows,) class numbers or true values; not read where margins are given.
        kind: "classification" or "regression"; any word where margins are given.

    Returns:
        (members, rows) margins, float64.

    Raises:
        BadInput: the kind is unknown, or the values have neither two nor three axes.
    """
    if values.ndim == 2:
        return values.double()
    if kind not in MADE_HERE or targets is None:
        raise BadInput(
            f"outputs of kind {kind!r} without margins",
            expected=f"margins, or outputs of kind {' or '.join(MADE_HERE)} with their targets",
            fix="let the task make the margins",
        )
    if values.ndim != 3:
        raise BadInput(
            f"values of shape {tuple(values.shape)}",
            expected="(members, rows, C) outputs or (members, rows) margins",
            fix="put the models in the first axis, with an axis of length 1 for a single model",
        )
    one = MADE_HERE[kind]
    # a few members at a time: float64 copies of all outputs would need several times the room
    cuts = member_cuts(values)
    return torch.cat(
        [one(values[cut].double(), targets.expand(cut.stop - cut.start, -1)) for cut in cuts]
    )


# by kind, how margins are made of outputs that came without them
MADE_HERE = {"classification": classification_margin, "regression": regression_margin}


def check_margins(unlearned: Array, oracle: Array) -> None:
    """Refuse two groups of margins that cannot be compared row by row.

    Args:
        unlearned: meant to be (M, rows), finite.
        oracle: meant to be (N, rows), finite.

    Raises:
        BadInput: other shapes, no models, or a margin that is not finite.
    """
    shapes = [tuple(x.shape) for x in (unlearned, oracle)]
    if any(len(s) != 2 or s[0] == 0 for s in shapes) or shapes[0][1] != shapes[1][1]:
        raise BadInput(
            f"margins of shapes {shapes[0]} and {shapes[1]}",
            expected="(models, rows) twice, at least one model in each, the same rows",
            fix="compute both on the same rows, with one line per model",
        )
    check_finite("unlearned", unlearned)
    check_finite("oracle", oracle)


def check_finite(name: str, values: Array) -> None:
    """Refuse margins that are NaN or infinite.

    Args:
        name: whose margins they are, for the message.
        values: (models, rows).

    Raises:
        BadInput: some are not finite; it says how many, and which row is the first.
    """
    bad = by_rows(_bad, values)
    if bad.any():
        raise BadInput(
            f"{int(bad.sum())} {name} margins are NaN or infinite, "
            f"first in row {int(bad.nonzero()[0])}",
            expected="finite numbers",
            fix="look for a model whose training diverged, and train it again",
        )


def _bad(values: Tensor) -> Tensor:
    """How many of each row are not finite, (rows,)."""
    # one pass where all is well: NaN and infinity both reach the extremes
    if not values.numel() or torch.stack(values.aminmax()).isfinite().all():
        return torch.zeros(values.shape[1], dtype=torch.int64)
    return (~values.isfinite()).sum(0)
