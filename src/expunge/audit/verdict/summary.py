"""Summaries: a metric over the three groups of rows, each number with its spread, ready for JSON.

Margins of all groups lie side by side in one array (members, rows of all groups), so that leaving
out a block of models, or splitting the oracles, leaves out the same models everywhere. They need
not be in memory: they are read some rows, or some models, at a time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import check_finite, check_margins
from expunge.audit.evidence.views import beside
from expunge.audit.metrics.accuracy import absolute_error, accuracy
from expunge.audit.metrics.distance import distance_null, require, without_blocks
from expunge.audit.metrics.klom import divergences, p95
from expunge.audit.metrics.resample import (
    Rowwise,
    error,
    jackknife_by_rows,
    left_out,
    splits_by_rows,
)

BLOCKS = 10
SPLITS = 200
SEED = 0  # of the splits

Table = dict[str, Any]


def klom_table(unlearned: Array, oracle: Array, sizes: Sequence[int]) -> Table:
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
    found = jackknife_by_rows(_klom_statistic(sizes), unlearned, oracle, BLOCKS)
    t, se = (numbers.tolist() for numbers in found)
    table: Table = {
        group: {"p95": t[i], "mean": t[3 + i], "se": se[i], "mean_se": se[3 + i]}
        | {"interval": _interval(t[i], se[i])}
        for i, group in enumerate(GROUPS)
    }
    table |= {"average_p95": t[6], "average_se": se[6], "average_interval": _interval(t[6], se[6])}
    return table | {"paper_average_p95": t[7], "paper_average_interval": _interval(t[7], se[7])}


def klom_null(pool: Array, models: int, sizes: Sequence[int]) -> Table:
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
    middle, ranges = _middle(splits_by_rows(_klom_statistic(sizes), pool, models, SPLITS, SEED))
    table: Table = {
        group: {"p95": middle[i], "mean": middle[3 + i], "interval": ranges[i]}
        for i, group in enumerate(GROUPS)
    }
    table |= {"average_p95": middle[6], "average_interval": ranges[6]}
    return table | {"paper_average_p95": middle[7], "paper_average_interval": ranges[7]}


def distance_table(unlearned: Array, oracle: Array, sizes: Sequence[int]) -> Table:
    """Distance to the oracles in each group, averaged over unlearned models.

    Args:
        unlearned: (M, rows of all groups) margins.
        oracle: (N, rows of all groups) margins, N >= 10.
        sizes: rows of each group.

    Returns:
        {group: {rms, se, interval}}; with one unlearned model the error is that of the oracles.
    """
    table: Table = {}
    groups = zip(GROUPS, beside(unlearned, sizes), beside(oracle, sizes), strict=True)
    for group, ours, theirs in groups:
        require(ours, theirs)
        whole, *fewer = without_blocks(ours, theirs, BLOCKS)
        t, se = (
            float(whole.mean()),
            error(
                [kept.mean() for kept in left_out(whole, BLOCKS)], [found.mean() for found in fewer]
            ),
        )
        table[group] = {"rms": t, "se": float(se), "interval": _interval(t, float(se))}
    return table


def distance_null_table(oracle: Array, sizes: Sequence[int]) -> Table:
    """The same for each oracle against the others: {group: {rms: median, interval: 95 % range}}.

    Args:
        oracle: (N, rows of all groups) margins, N >= 10.
        sizes: rows of each group.

    Returns:
        As said above, in standard deviations of the oracles.
    """
    each = torch.stack([distance_null(group) for group in beside(oracle, sizes)], dim=-1)
    middle, ranges = _middle(each)
    return {g: {"rms": middle[i], "interval": ranges[i]} for i, g in enumerate(GROUPS)}


def accuracy_table(outputs: Sequence[Array], targets: Sequence[Tensor]) -> Table:
    """Accuracy in each group: the mean over models, and their sd (None for a single model).

    Args:
        outputs: (members, rows, C) for each group.
        targets: (rows,) for each group.

    Returns:
        {group: mean, "sd": {group: sd}}.
    """
    return _spread([accuracy(o, t) for o, t in zip(outputs, targets, strict=True)])


def error_table(margins: Array, sizes: Sequence[int]) -> Table:
    """The same for the mean absolute error of regressions.

    Args:
        margins: (members, rows of all groups) signed errors, in the units of the target.
        sizes: rows of each group.

    Returns:
        {group: mean, "sd": {group: sd}}, in the units of the target.
    """
    return _spread([absolute_error(group) for group in beside(margins, sizes)])


def _klom_statistic(sizes: Sequence[int]) -> Rowwise:
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


def _interval(value: float, error: float) -> list[float]:
    return [value - 2 * error, value + 2 * error]


def _middle(draws: Tensor) -> tuple[list[float], list[list[float]]]:
    """Medians and 95 % ranges of (draws, numbers)."""
    low, middle, high = draws.quantile(
        torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64), dim=0
    )
    return middle.tolist(), torch.stack([low, high], dim=-1).tolist()


def _spread(each: Sequence[Tensor]) -> Table:
    named = list(zip(GROUPS, each, strict=True))
    sd = {group: float(x.std()) if len(x) > 1 else None for group, x in named}
    return {group: float(x.mean()) for group, x in named} | {"sd": sd}
