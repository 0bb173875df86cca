"""Forget sets at random: what most published comparisons forget."""

from torch import Tensor

from expunge.errors import BadInput
from expunge.rng import Draws


def random_rows(candidates: Tensor, count: int, draws: Draws) -> Tensor:
    """`count` of these row numbers, each set equally likely; int64, sorted.

    A larger set of the same draws holds the smaller one.
    """
    require_count(count, len(candidates))
    return candidates[draws.permutation(len(candidates))[:count]].sort().values


def random_share(candidates: Tensor, share: float, draws: Draws) -> Tensor:
    """A share of these row numbers, e.g. 0.1, rounded to whole rows; see `random_rows`."""
    if not 0 < share <= 1:
        raise BadInput(
            f"a share of {share}",
            expected="a number above 0, up to 1",
            fix="pass 0.1 for a tenth, or count= for a number of rows",
        )
    return random_rows(candidates, round(share * len(candidates)), draws)


def require_count(count: int, available: int) -> None:
    """Raise BadInput unless so many rows can be taken from those available."""
    if not 0 < count <= available:
        raise BadInput(
            f"a forget set of {count} rows from {available}",
            expected=f"1 to {available} rows",
            fix="ask for fewer rows, or widen the candidates",
        )
