"""Distance: how far one model's margins lie from those of retrained models, in their own spread.

For a row r: z_r = (margin_r - oracle mean_r) / oracle sd_r (unbiased, over oracles); the distance
of a model is the root mean square of z over the rows of a group. A model drawn like the oracles
scores about sqrt((1 + 1/N) (N - 1) / (N - 3)), 1.08 for N = 20, more or less according to how
strongly its rows move together. It serves where there are too few models for KLoM.
Source: of this package; the standard score of a model among retrained models.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, by_members, by_rows, member_cuts
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import check_finite, check_margins
from expunge.audit.evidence.views import beside
from expunge.audit.metrics.metric import MARGINS, Metric, oracles
from expunge.audit.metrics.resample import BLOCKS, error, interval, left_out, middle
from expunge.errors import BadInput

MIN_ORACLES = 10
SPREAD_FLOOR = 1e-6  # smallest sd, as a share of the largest margin of the row: float32 rounding


def distance(unlearned: Array, oracle: Array) -> Tensor:
    """Root mean square, over rows, of the standardised distance to the oracles.

    Where the oracles (nearly) agree on a row, their sd is taken as 1e-6 of the largest absolute
    margin of that row, so that rounding is not read as distance and no value is NaN.

    Args:
        unlearned: (M, rows) margins.
        oracle: (N, rows) margins of retrained models, N >= 10.

    Returns:
        (M,) distances, float64, in standard deviations of the oracles.

    Raises:
        BadInput: wrong shapes, no rows, fewer than 10 oracles, or a margin that is not finite.
    """
    require(unlearned, oracle)
    return root_mean_square(unlearned, oracle)


def require(unlearned: Array, oracle: Array) -> None:
    """Raise BadInput where `distance` has no meaning."""
    _enough(oracle)
    check_margins(unlearned, oracle)


def distance_null(oracle: Array) -> Tensor:
    """The same for each oracle against the other N - 1: what a perfect method would score.

    One oracle fewer than a method meets raises the null by 2 % at N = 10, by 0.5 % at N = 20.

    Args:
        oracle: (N, rows) margins, N >= 10.

    Returns:
        (N,) distances, float64.

    Raises:
        BadInput: as `distance`.
    """
    _enough(oracle)
    check_finite("oracle", oracle)
    everyone, found = torch.arange(len(oracle)), []
    for cut in member_cuts(oracle):

        def squares(models: Tensor, own: slice = cut) -> Tensor:
            return torch.cat(
                [
                    _standardised(models[i, None], _known(models[everyone != i])).square()
                    for i in range(own.start, own.stop)
                ]
            )

        found.append(by_rows(squares, oracle).mean(-1).sqrt())
    return torch.cat(found)


def root_mean_square(unlearned: Array, oracle: Array) -> Tensor:
    """`distance` without its conditions.

    Args:
        unlearned: (M, rows) finite margins.
        oracle: (N, rows) finite margins, N >= 2.

    Returns:
        (M,) distances, float64.
    """
    return _from(unlearned, [by_rows(_known, oracle)])[0]


def without_blocks(unlearned: Array, oracle: Array, blocks: int) -> Tensor:
    """`root_mean_square` with all oracles, and without each of `blocks` blocks of them.

    Args:
        unlearned: (M, rows) finite margins.
        oracle: (N, rows) finite margins, N >= 3.
        blocks: as in `jackknife`.

    Returns:
        (1 + blocks, M), all oracles first.
    """

    def each(models: Tensor) -> Tensor:
        return torch.stack([_known(models), *map(_known, left_out(models, blocks))])

    return _from(unlearned, by_rows(each, oracle))


def distance_table(unlearned: Array, oracle: Array, sizes: Sequence[int]) -> dict[str, Any]:
    """Distance to the oracles in each group, averaged over unlearned models.

    Args:
        unlearned: (M, rows of all groups) margins.
        oracle: (N, rows of all groups) margins, N >= 10.
        sizes: rows of each group.

    Returns:
        {group: {rms, se, interval}}; with one unlearned model the error is that of the oracles.
    """
    table: dict[str, Any] = {}
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
        table[group] = {"rms": t, "se": float(se), "interval": interval(t, float(se))}
    return table


def distance_null_table(oracle: Array, sizes: Sequence[int]) -> dict[str, Any]:
    """The same for each oracle against the others: {group: {rms: median, interval: 95 % range}}.

    Args:
        oracle: (N, rows of all groups) margins, N >= 10.
        sizes: rows of each group.

    Returns:
        As said above, in standard deviations of the oracles.
    """
    each = torch.stack([distance_null(group) for group in beside(oracle, sizes)], dim=-1)
    medians, ranges = middle(each)
    return {g: {"rms": medians[i], "interval": ranges[i]} for i, g in enumerate(GROUPS)}


def _known(oracle: Tensor) -> Tensor:
    """What a distance needs of the oracles: mean, sd and largest size of each row, (3, rows)."""
    oracle = oracle.double()
    return torch.stack([oracle.mean(0), oracle.std(0), oracle.abs().amax(0)])


def _from(unlearned: Array, known: Iterable[Tensor]) -> Tensor:
    """(references, M) distances from one or several groups of oracles, each (3, rows)."""
    groups = list(known)

    def each(models: Tensor) -> Tensor:
        squares = (_standardised(models, one).square() for one in groups)
        return torch.stack([square.mean(-1).sqrt() for square in squares])

    return by_members(each, unlearned)


def _standardised(unlearned: Tensor, known: Tensor) -> Tensor:
    unlearned, (mean, spread, widest) = unlearned.double(), known
    largest = torch.maximum(unlearned.abs(), widest)
    scale = torch.maximum(spread, SPREAD_FLOOR * largest)
    return (unlearned - mean) / torch.where(scale > 0, scale, 1.0)


def _enough(oracle: Array) -> None:
    if len(oracle.shape) != 2 or oracle.shape[0] < MIN_ORACLES or oracle.shape[1] == 0:
        raise BadInput(
            f"oracle margins of shape {tuple(oracle.shape)}",
            expected=f"(N, rows) with at least {MIN_ORACLES} oracles and one row",
            fix="retrain more oracles: a spread from fewer says little",
        )


METRIC = Metric(
    name="distance",
    unit="sd of the oracles",
    direction="lower",
    needs=(MARGINS, oracles(MIN_ORACLES)),
    measure=lambda file, evidence: distance_table(
        evidence.margins(file), evidence.margins(evidence.oracle), evidence.sizes
    ),
    null=lambda evidence: distance_null_table(evidence.margins(evidence.oracle), evidence.sizes),
    definition="root mean square over rows of a margin's standard score among those of oracles",
)
