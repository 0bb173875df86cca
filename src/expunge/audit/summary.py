"""Summaries: a metric over the three groups of rows, each number with its spread, ready for JSON.

Margins of all groups lie side by side in one array (members, rows of all groups), so that leaving
out a block of models, or splitting the oracles, leaves out the same models everywhere.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.audit.accuracy import absolute_error, accuracy
from expunge.audit.distance import distance, distance_null, root_mean_square
from expunge.audit.klom import klom, p95
from expunge.audit.resample import Statistic, jackknife, splits
from expunge.audit.verdict import GROUPS

BLOCKS = 10
SPLITS = 200
SEED = 0  # of the splits

Table = dict[str, Any]


def klom_table(unlearned: Tensor, oracle: Tensor, sizes: Sequence[int]) -> Table:
    """KLoM of each group with its standard error, their average, and the paper's variant of it.

    Args:
        unlearned: (m, rows of all groups) margins.
        oracle: (m, rows of all groups) margins.
        sizes: rows of each group.

    Returns:
        {group: {p95, mean, se, mean_se, interval}, average_p95, average_se, average_interval,
        paper_average_p95, paper_average_interval}; intervals are two standard errors each way.
    """
    statistic = _klom_statistic(sizes)
    value, error = statistic(unlearned, oracle), jackknife(statistic, unlearned, oracle, BLOCKS)
    t, se = value.tolist(), error.tolist()
    table: Table = {
        group: {"p95": t[i], "mean": t[3 + i], "se": se[i], "mean_se": se[3 + i]}
        | {"interval": _interval(t[i], se[i])}
        for i, group in enumerate(GROUPS)
    }
    table |= {"average_p95": t[6], "average_se": se[6], "average_interval": _interval(t[6], se[6])}
    return table | {"paper_average_p95": t[7], "paper_average_interval": _interval(t[7], se[7])}


def klom_null(pool: Tensor, models: int, sizes: Sequence[int]) -> Table:
    """The same among oracles: medians and 95 % ranges over random splits, `models` on each side.

    Args:
        pool: (P, rows of all groups) margins of all oracles, P >= 2 * models.
        models: models on each side.
        sizes: rows of each group.

    Returns:
        {group: {p95, mean, interval}, average_p95, average_interval, paper_average_p95,
        paper_average_interval}.
    """
    statistic = _klom_statistic(sizes)
    over_splits = torch.stack([statistic(a, b) for a, b in splits(pool, models, SPLITS, SEED)])
    middle, ranges = _middle(over_splits)
    table: Table = {
        group: {"p95": middle[i], "mean": middle[3 + i], "interval": ranges[i]}
        for i, group in enumerate(GROUPS)
    }
    table |= {"average_p95": middle[6], "average_interval": ranges[6]}
    return table | {"paper_average_p95": middle[7], "paper_average_interval": ranges[7]}


def distance_table(unlearned: Tensor, oracle: Tensor, sizes: Sequence[int]) -> Table:
    """Distance to the oracles in each group, averaged over unlearned models.

    Args:
        unlearned: (M, rows of all groups) margins.
        oracle: (N, rows of all groups) margins, N >= 10.
        sizes: rows of each group.

    Returns:
        {group: {rms, se, interval}}; with one unlearned model the error is that of the oracles.
    """

    def statistic(unlearned: Tensor, oracle: Tensor) -> Tensor:
        groups = zip(_split(unlearned, sizes), _split(oracle, sizes), strict=True)
        return torch.stack([root_mean_square(u, o).mean() for u, o in groups])

    groups = zip(_split(unlearned, sizes), _split(oracle, sizes), strict=True)
    value = [float(distance(u, o).mean()) for u, o in groups]
    error = jackknife(statistic, unlearned, oracle, BLOCKS).tolist()
    return {
        group: {"rms": t, "se": se, "interval": _interval(t, se)}
        for group, t, se in zip(GROUPS, value, error, strict=True)
    }


def distance_null_table(oracle: Tensor, sizes: Sequence[int]) -> Table:
    """The same for each oracle against the others: {group: {rms: median, interval: 95 % range}}.

    Args:
        oracle: (N, rows of all groups) margins, N >= 10.
        sizes: rows of each group.

    Returns:
        As said above, in standard deviations of the oracles.
    """
    each = torch.stack([distance_null(group) for group in _split(oracle, sizes)], dim=-1)
    middle, ranges = _middle(each)
    return {g: {"rms": middle[i], "interval": ranges[i]} for i, g in enumerate(GROUPS)}


def accuracy_table(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Table:
    """Accuracy in each group: the mean over models, and their sd (None for a single model).

    Args:
        outputs: (members, rows, C) for each group.
        targets: (rows,) for each group.

    Returns:
        {group: mean, "sd": {group: sd}}.
    """
    return _spread([accuracy(o, t) for o, t in zip(outputs, targets, strict=True)])


def error_table(margins: Tensor, sizes: Sequence[int]) -> Table:
    """The same for the mean absolute error of regressions.

    Args:
        margins: (members, rows of all groups) signed errors, in the units of the target.
        sizes: rows of each group.

    Returns:
        {group: mean, "sd": {group: sd}}, in the units of the target.
    """
    return _spread([absolute_error(group) for group in _split(margins, sizes)])


def _klom_statistic(sizes: Sequence[int]) -> Statistic:
    def statistic(unlearned: Tensor, oracle: Tensor) -> Tensor:
        groups = klom(unlearned, oracle).split(list(sizes))
        paper = klom(unlearned, oracle, convention="paper").split(list(sizes))
        high = torch.stack([p95(group) for group in groups])
        mean = torch.stack([group.mean() for group in groups])
        paper_high = torch.stack([p95(group) for group in paper])
        return torch.cat([high, mean, high.mean().view(1), paper_high.mean().view(1)])

    return statistic


def _split(margins: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    return margins.split(list(sizes), dim=1)


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
