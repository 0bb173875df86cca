"""The table of KLoM: percentile and mean of each group of rows, with their errors, and its null.

See `klom` for the divergence of one row and its source.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array
from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import check_finite, check_margins
from expunge.audit.evidence.views import Slice
from expunge.audit.metrics.klom import divergences, hidden, p95
from expunge.audit.metrics.metric import MARGINS, Metric, Need, Score
from expunge.audit.metrics.resample import (
    BLOCKS,
    SEED,
    SPLITS,
    Rowwise,
    interval,
    jackknife_by_rows,
    middle,
    splits_by_rows,
)

MIN_MODELS = 50  # on each side
LOST = 0.05  # share of a group's rows that outliers may hide


def klom_table(unlearned: Array, oracle: Array, sizes: Sequence[int]) -> dict[str, Any]:
    """KLoM of each group with its standard error, their average, and the paper's variant of it.

    Args:
        unlearned: (m, rows of all groups) margins.
        oracle: (m, rows of all groups) margins.
        sizes: rows of each group.

    Returns:
        {group: {p95, mean, se, mean_se, interval}, average_p95, average_se, average_interval,
        paper_average_p95, paper_average_interval}; intervals are two standard errors each way.
    """
    check_margins(unlearned, oracle)
    found = jackknife_by_rows(_statistic(sizes), unlearned, oracle, BLOCKS)
    t, se = (numbers.tolist() for numbers in found)
    table: dict[str, Any] = {
        group: {"p95": t[i], "mean": t[3 + i], "se": se[i], "mean_se": se[3 + i]}
        | {"interval": interval(t[i], se[i])}
        for i, group in enumerate(GROUPS)
    }
    table |= {"average_p95": t[6], "average_se": se[6], "average_interval": interval(t[6], se[6])}
    return table | {"paper_average_p95": t[7], "paper_average_interval": interval(t[7], se[7])}


def klom_null(pool: Array, models: int, sizes: Sequence[int]) -> dict[str, Any]:
    """The same among oracles: medians and 95 % ranges over random splits, `models` on each side.

    Args:
        pool: (P, rows of all groups) margins of all oracles, P >= 2 * models.
        models: models on each side.
        sizes: rows of each group.

    Returns:
        {group: {p95, mean, interval}, average_p95, average_interval, paper_average_p95,
        paper_average_interval}.
    """
    check_finite("oracle", pool)
    medians, ranges = middle(splits_by_rows(_statistic(sizes), pool, models, SPLITS, SEED))
    table: dict[str, Any] = {
        group: {"p95": medians[i], "mean": medians[3 + i], "interval": ranges[i]}
        for i, group in enumerate(GROUPS)
    }
    table |= {"average_p95": medians[6], "average_interval": ranges[6]}
    return table | {"paper_average_p95": medians[7], "paper_average_interval": ranges[7]}


def _statistic(sizes: Sequence[int]) -> Rowwise:
    def each(unlearned: Tensor, oracle: Tensor) -> Tensor:
        conventions = ("expunge", "paper")
        return torch.stack([divergences(unlearned, oracle, convention=c) for c in conventions])

    def summary(rows: Tensor) -> Tensor:
        groups, paper = (one.split(list(sizes)) for one in rows)
        high = torch.stack([p95(group) for group in groups])
        mean = torch.stack([group.mean() for group in groups])
        paper_high = torch.stack([p95(group) for group in paper])
        return torch.cat([high, mean, high.mean().view(1), paper_high.mean().view(1)])

    return Rowwise(each, summary)


def used(file: Outputs, evidence: Evidence) -> int | None:
    """How many models of a file KLoM compares with as many oracles.

    KLoM falls with the number of models, so values and their null use the same number on each
    side: min(models, oracles, half of all oracles); None if that is below 50.
    """
    oracles = len(evidence.oracle["forget"])
    m = min(len(file["forget"]), oracles, len(evidence.pool) // 2)
    return m if m >= MIN_MODELS else None


def null(evidence: Evidence, m: int | None) -> Score | None:
    """KLoM among oracles, m on each side."""
    return None if m is None else klom_null(evidence.pool, m, evidence.sizes)


def hidden_groups(file: Outputs, evidence: Evidence) -> list[str]:
    """Groups of which outliers hide more rows from KLoM than its 95th percentile looks past."""
    rows = hidden(*_sides(file, evidence)).double().split(evidence.sizes)
    return [group for group, lost in zip(GROUPS, rows, strict=True) if lost.mean() > LOST]


def _sides(file: Outputs, evidence: Evidence) -> tuple[Array, Array]:
    """As many models of both sides."""
    own = range(used(file, evidence) or 0)
    return Slice(evidence.margins(file), own), Slice(evidence.margins(evidence.oracle), own)


def _measure(file: Outputs, evidence: Evidence) -> Score:
    return klom_table(*_sides(file, evidence), evidence.sizes)


def _lacking(file: Outputs, evidence: Evidence) -> str:
    if used(file, evidence) is not None:
        return ""
    oracles = len(evidence.oracle["forget"])
    return (
        f"it needs at least {MIN_MODELS} models on each side and {2 * MIN_MODELS} oracles in all; "
        f"there are {len(file['forget'])}, {oracles} oracles and {len(evidence.pool) - oracles} "
        "more for the null"
    )


METRIC = Metric(
    name="klom",
    unit="nats",
    direction="lower",
    needs=(MARGINS, Need(f"{MIN_MODELS} models", _lacking)),
    measure=_measure,
    null=lambda evidence: null(evidence, used(evidence.oracle, evidence)) or {},
    definition="95th percentile over rows of KL(unlearned || oracle) between margins over models",
)
