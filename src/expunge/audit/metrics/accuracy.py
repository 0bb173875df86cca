"""Accuracy and error: how often, or by how much, each model is wrong.

Accuracy needs outputs. Margins do not suffice: a margin above 0 says that the true class has more
than half of the probability, while to be right it only needs more than any other class.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, by_members
from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.views import Concat, beside
from expunge.audit.metrics.metric import (
    CLASSES,
    LOGITS,
    VALUES,
    Metric,
    Score,
    by_model,
    of_oracles,
)
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


def accuracy_table(outputs: Sequence[Array], targets: Sequence[Tensor]) -> dict[str, Any]:
    """Accuracy in each group: the mean over models, and their sd (None for a single model).

    Args:
        outputs: (members, rows, C) for each group.
        targets: (rows,) for each group.

    Returns:
        {group: mean, "sd": {group: sd}}.
    """
    return _spread([accuracy(o, t) for o, t in zip(outputs, targets, strict=True)])


def error_table(margins: Array, sizes: Sequence[int]) -> dict[str, Any]:
    """The same for the mean absolute error of regressions.

    Args:
        margins: (members, rows of all groups) signed errors, in the units of the target.
        sizes: rows of each group.

    Returns:
        {group: mean, "sd": {group: sd}}, in the units of the target.
    """
    return _spread([absolute_error(group) for group in beside(margins, sizes)])


def _spread(each: Sequence[Tensor]) -> dict[str, Any]:
    named = list(zip(GROUPS, each, strict=True))
    sd = {group: float(x.std()) if len(x) > 1 else None for group, x in named}
    return {group: float(x.mean()) for group, x in named} | {"sd": sd}


def _accuracies(evidence: Evidence, *files: Outputs) -> Score:
    outputs = [Concat([file[group] for file in files], 0) for group in GROUPS]
    return accuracy_table(outputs, [evidence.targets[group] for group in GROUPS])


def _errors(evidence: Evidence, *files: Outputs) -> Score:
    return error_table(Concat([evidence.margins(file) for file in files], 0), evidence.sizes)


def _all_oracles(evidence: Evidence) -> list[Outputs]:
    return [evidence.oracle, *([evidence.null] if evidence.null else [])]


ACCURACY = Metric(
    name="accuracy",
    unit="share of 1",
    direction="nearer",
    needs=(CLASSES, LOGITS),
    measure=lambda file, evidence: _accuracies(evidence, file),
    null=lambda evidence: _accuracies(evidence, *_all_oracles(evidence)),
    definition="rows whose largest output is that of the true class",
)
ERROR = Metric(
    name="error",
    unit="unit of the target",
    direction="nearer",
    needs=(VALUES,),
    measure=lambda file, evidence: _errors(evidence, file),
    null=lambda evidence: _errors(evidence, *_all_oracles(evidence)),
    definition="mean absolute error over rows",
)


def correct(file: Outputs, evidence: Evidence, group: str, k: int) -> Tensor:
    """Which rows one model answers rightly, bool; test rows without classes forgotten whole."""
    targets, outputs = evidence.targets[group], file[group][k : k + 1][0]
    right = outputs.argmax(-1) == targets
    return right[~torch.isin(targets, evidence.emptied)] if group == "test" else right


def _percent(name: str, group: str, definition: str) -> Metric:
    def measure(file: Outputs, evidence: Evidence) -> Score:
        def one(k: int) -> float:
            share = 100 * float(correct(file, evidence, group, k).double().mean())
            return 100 - share if group == "forget" else share

        return by_model(one, file)

    need, null = (CLASSES, LOGITS), of_oracles(measure)
    return Metric(name, "%", "nearer", need, measure, null, definition)


UA = _percent("UA", "forget", "forgotten rows that are now answered wrongly")
RA = _percent("RA", "retain", "retained rows answered rightly")
TA = _percent("TA", "test", "test rows answered rightly (without classes that are forgotten whole)")
