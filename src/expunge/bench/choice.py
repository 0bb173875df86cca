"""The two rules by which settings are chosen, both fixed before anything is scored.

oracle-free what a user can do, without any retrained model: the accuracy that retained and
validation rows lost against the original, plus twice the distance from 1/2 of the AUC of a loss
attack of forgotten rows against validation rows of their classes, plus the share of forgotten
rows that are still given a class of which nothing is retained (no retrained model knows it).
oracle with retrained models that do not judge: the mean of the three 95th percentiles of KLoM
where there are 50 of them, else the average gap in UA, RA, validation accuracy and MIA.
"""

import torch

from expunge.audit.metrics.attack import auc
from expunge.bench.answers import Cell
from expunge.bench.metrics import GAPPED, METRICS
from expunge.bench.scores import Judge, klom_of, scores, unseen_like, without_emptied


def oracle_free(cell: Cell, original: Cell, emptied: torch.Tensor) -> float:
    """The score of a trial without oracles, in percentage points; smaller is better.

    Args:
        cell: answers after forgetting; its "test" rows are validation rows.
        original: answers before.
        emptied: classes of which nothing is retained.
    """
    now, before = (without_emptied(one, emptied) for one in (cell, original))
    lost = sum(
        max(0.0, _accuracy(before, group) - _accuracy(now, group)) for group in ("retain", "test")
    )
    forget = cell["forget"]
    pairs = zip(-forget.loss, -unseen_like(cell).loss, strict=True)
    told = sum(abs(auc(a, b)[0] - 0.5) for a, b in pairs) / len(forget.loss)
    gone = torch.isin(forget.targets, emptied)
    known = float(forget.correct[:, gone].double().mean()) if gone.any() else 0.0
    return lost + 100 * (2 * told + known)


def with_oracles(cell: Cell, oracle: Cell, emptied: torch.Tensor) -> float:
    """The score of a trial with oracles that do not judge it; smaller is better.

    Infinite where outliers stretch the range of KLoM, which would then look perfect.
    """
    members = min(len(cell["forget"].margin), len(oracle["forget"].margin))
    if members >= METRICS["KLoM"].members:
        found = klom_of(cell, oracle)
        return float("inf") if found["hidden"] else found["value"]
    judge = Judge(oracle, emptied, torch.zeros(members))
    both = [scores(GAPPED, side, judge, None)[0] for side in (cell, oracle)]
    gaps = [abs(_mean(both[0][name]) - _mean(both[1][name])) for name in GAPPED]
    return sum(gaps) / len(gaps)


def _accuracy(cell: Cell, group: str) -> float:
    return 100 * float(cell[group].correct.double().mean())


def _mean(score: dict | None) -> float:
    assert score is not None
    return sum(score["values"]) / len(score["values"])
