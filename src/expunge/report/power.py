"""Power: how small a leak this audit would have called one."""

from dataclasses import dataclass

import torch

from expunge.audit.metrics.klom import klom, p95
from expunge.report import document as doc
from expunge.report.document import Document

ROWS = 400  # simulated rows: enough for a steady 95th percentile
STEP, LARGEST = 0.05, 6.0  # of the shift, in standard deviations of the oracles


@dataclass(frozen=True)
class Power:
    """What it takes in one group to be called "not supported".

    Attributes:
        metric: "klom" or "distance".
        group: forget, retain or test.
        found_from: the metric's value from which the method's interval clears the limit.
        shift: the smallest shift of every row's margin that reaches it on average, in standard
            deviations of the oracles; None if more than 6.
    """

    metric: str
    group: str
    found_from: float
    shift: float | None


def power(document: Document, method: str) -> list[Power]:
    """The smallest leak that the audit of one method could have found, for each group.

    The value is the limit plus two standard errors as measured. For KLoM the shift that raises
    the null so far is found by simulation with normal margins, which lack the heavier tails of
    real ones; for distance, a shift of s raises the null N to sqrt(N^2 + s^2).

    Returns:
        One entry a group; none if no verdict rests on a metric, or the method was refused.
    """
    entry = document["methods"][method]
    metric = None if doc.withheld(entry) else entry.get("verdict_metric")
    found = []
    for group in doc.GROUPS:
        level = doc.reading(entry, metric, group)
        limit = doc.limit(document, entry, metric, group)
        among = doc.null(document, entry, metric, group)
        if metric is None or level is None or limit is None or among is None:
            continue
        edge = limit + (level.half or 0.0)
        if metric == "klom":
            models = doc.models_used(document, method)
            shift = None if models is None else _klom_shift(edge - among.value, models)
        else:
            shift = max(edge**2 - among.value**2, 0.0) ** 0.5
        found.append(Power(metric, group, edge, shift))
    return found


def _klom_shift(rise: float, models: int) -> float | None:
    """The smallest shift of normal margins that raises the 95th percentile of KLoM by `rise`."""
    generator = torch.Generator().manual_seed(0)
    after, oracle = torch.randn(2, models, ROWS, generator=generator, dtype=torch.float64)
    edge = p95(klom(after, oracle)) + rise
    if p95(klom(after + LARGEST, oracle)) < edge:
        return None
    low, high = 0, round(LARGEST / STEP)
    while high - low > 1:  # KLoM grows with the shift
        middle = (low + high) // 2
        if p95(klom(after + STEP * middle, oracle)) < edge:
            low = middle
        else:
            high = middle
    return STEP * high
