"""The metrics of one cell, from its answers and those of the retrained models beside it.

Only arrays come in, so `expunge verify` repeats all of it from the columnar file alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from expunge.audit.metrics.attack import auc
from expunge.audit.metrics.class_threshold import called_members
from expunge.audit.metrics.klom import hidden, klom
from expunge.audit.metrics.relearn import relearn_time
from expunge.audit.metrics.resample import jackknife
from expunge.audit.metrics.risk import privacy_risk
from expunge.audit.metrics.shadow import Shadow
from expunge.audit.metrics.svc_mia import balanced_svc_mia, svc_mia
from expunge.audit.metrics.ulira import pooled
from expunge.bench.answers import GROUPS, Answers, Cell
from expunge.bench.metrics import METRICS

Scores = dict[str, dict[str, Any] | None]  # None: not measured
LOST = 0.05  # largest share of rows that outliers may hide from KLoM


@dataclass(frozen=True)
class Judge:
    """What a cell is judged against.

    Attributes:
        oracle: retrained models.
        emptied: classes of which nothing is retained; their test rows are left out.
        goal: loss on the forgotten rows to be relearnt, (members,): the original models'.
    """

    oracle: Cell
    emptied: Tensor
    goal: Tensor


def scores(
    names: tuple[str, ...], cell: Cell, judge: Judge, relearning: Tensor | None
) -> tuple[Scores, dict[str, str]]:
    """Measure.

    Args:
        names: metrics asked for.
        cell: answers of the models that are judged.
        judge: what they are judged against.
        relearning: curves of the relearning probe, (members, epochs + 1), if it was made.

    Returns:
        Metric -> {"values": one number a model} or {"value": ..., "se": ..., parts}; and why those
        that are None were not measured.
    """
    found: Scores = {}
    missing = {name: "not asked for in the config" for name in METRICS if name not in names}
    members = min(len(cell["forget"].margin), len(judge.oracle["forget"].margin))
    for name in names:
        found[name] = None
        if members < METRICS[name].members:
            missing[name] = f"needs {METRICS[name].members} models on each side, has {members}"
        elif name == "relearn" and relearning is None:
            missing[name] = "the probe was not asked for, or the models are no weights of this task"
        elif name == "ZRF" and cell["forget"].divergence is None:
            missing[name] = "the answers have other classes than an untrained model's"
        elif name == "relearn" and relearning is not None:
            times = relearn_time(relearning, judge.goal[: len(relearning)])
            finite = [float(t) if t < inf else None for t in times]
            found[name] = {"values": finite, "cap": relearning.shape[1] - 1}
        else:
            found[name] = _MEASURES[name](cell, judge)
    return found, missing


def _per_model(measure: Callable[[dict[str, Answers], int], float]) -> Callable:
    def measured(cell: Cell, judge: Judge) -> dict[str, Any]:
        kept = without_emptied(cell, judge.emptied)
        return {"values": [measure(kept, k) for k in range(len(cell["forget"].margin))]}

    return measured


def without_emptied(cell: Cell, emptied: Tensor) -> Cell:
    """The cell without the test rows of classes that are forgotten whole."""
    return {**cell, "test": cell["test"].only(~torch.isin(cell["test"].targets, emptied))}


def _share(values: Tensor) -> float:
    return 100 * float(values.double().mean())


def _published(cell: Cell, k: int) -> float:
    retain, test, forget = (cell[g].confidence[k] for g in ("retain", "test", "forget"))
    return svc_mia(retain, test, forget)


def _balanced(cell: Cell, k: int) -> float:
    retain, test, forget = (cell[g].margin[k] for g in ("retain", "test", "forget"))
    return balanced_svc_mia(retain, test, forget).forget.value


def _attack(signal: str) -> Callable[[Cell, Judge], dict[str, Any]]:
    """A forgotten row is called a member the lower its signal is, against test rows like it."""

    def measured(cell: Cell, judge: Judge) -> dict[str, Any]:
        forget, others = cell["forget"], unseen_like(cell)
        pairs = [
            auc(-getattr(forget, signal)[k].double(), -getattr(others, signal)[k].double())
            for k in range(len(forget.margin))
        ]
        return {
            "values": [100 * value for value, _ in pairs],
            "se_within": [100 * se for _, se in pairs],
        }

    return measured


def unseen_like(cell: Cell) -> Answers:
    """Answers on the test rows of the forgotten rows' classes, or on all where there are none."""
    like = torch.isin(cell["test"].targets, cell["forget"].targets)
    return cell["test"].only(like) if like.any() else cell["test"]


def _shadowed(
    measure: Callable[[Tensor, Tensor, Shadow], Tensor],
) -> Callable[[Cell, Judge], dict[str, Any]]:
    """A mean over forgotten rows; the shadow of a model is the retrained one of the next number.

    Never that of the same number, since the models that are judged may be the retrained ones.
    """

    def measured(cell: Cell, judge: Judge) -> dict[str, Any]:
        forget, oracle = cell["forget"], without_emptied(judge.oracle, judge.emptied)
        others = (torch.arange(len(forget.margin)) + 1) % len(oracle["retain"].margin)
        trained, unseen = oracle["retain"], oracle["test"]
        shadow = Shadow(
            trained.modified_entropy[others],
            trained.targets,
            unseen.modified_entropy[others],
            unseen.targets,
        )
        found = measure(forget.modified_entropy, forget.targets, shadow)
        return {"values": (100 * found.double().mean(1)).tolist()}

    return measured


def _ulira(pick: Callable[[Any], Mapping[str, Any]]) -> Callable[[Cell, Judge], dict[str, Any]]:
    def measured(cell: Cell, judge: Judge) -> dict[str, Any]:
        found = pooled(cell["forget"].margin, judge.oracle["forget"].margin)
        return dict(pick(found))

    return measured


def _rate(index: int) -> Callable[[Any], Mapping[str, Any]]:
    def pick(found: Any) -> Mapping[str, Any]:
        rate = found.tpr_at[index]
        if rate.tpr is None:
            return {"value": None}
        return {"value": 100 * rate.tpr, "low": 100 * rate.low, "high": 100 * rate.high}

    return pick


def klom_of(cell: Cell, oracle: Cell, convention: str = "expunge") -> dict[str, Any]:
    """95th percentiles by group, their mean, jackknife errors, and whether outliers hide rows."""
    sides = [
        torch.cat([side[group].margin for group in GROUPS], dim=1).double()
        for side in (cell, oracle)
    ]
    count = min(map(len, sides))
    sizes = [cell[group].margin.shape[1] for group in GROUPS]

    def percentiles(unlearned: Tensor, oracle: Tensor) -> Tensor:
        parts = klom(unlearned, oracle, convention=convention).split(sizes)
        values = torch.stack([part.quantile(0.95) for part in parts])
        return torch.cat([values, values.mean()[None]])

    a, b = (side[:count] for side in sides)
    names = (*GROUPS, "mean")
    lost = max(float(part.double().mean()) for part in hidden(a, b).split(sizes))
    return {
        "value": float(percentiles(a, b)[-1]),
        "parts": dict(zip(names, percentiles(a, b).tolist(), strict=True)),
        "se": dict(zip(names, jackknife(percentiles, a, b).tolist(), strict=True)),
        "hidden": lost > LOST,
    }


_MEASURES: dict[str, Callable[[Cell, Judge], dict[str, Any]]] = {
    "UA": _per_model(lambda cell, k: 100 - _share(cell["forget"].correct[k])),
    "RA": _per_model(lambda cell, k: _share(cell["retain"].correct[k])),
    "TA": _per_model(lambda cell, k: _share(cell["test"].correct[k])),
    "MIA": _per_model(_published),
    "MIA balanced": _per_model(_balanced),
    "loss AUC": _attack("loss"),
    "entropy AUC": _attack("entropy"),
    "m-entropy AUC": _attack("modified_entropy"),
    "m-entropy by class": _shadowed(called_members),
    "privacy risk": _shadowed(privacy_risk),
    "ZRF": _per_model(lambda cell, k: 100 - _share(cell["forget"].divergence[k])),  # type: ignore[index]
    "U-LiRA": _ulira(lambda f: {"value": 100 * f.accuracy, "se": 100 * f.accuracy_se}),
    "U-LiRA TPR@1%": _ulira(_rate(0)),
    "U-LiRA TPR@0.1%": _ulira(_rate(1)),
    "KLoM": lambda cell, judge: klom_of(cell, judge.oracle),
}
