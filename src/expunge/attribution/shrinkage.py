"""How far half-data models are trusted, by group of rows: the k and r of `datamodels`."""

from typing import NamedTuple

from torch import Tensor

from expunge.attribution.split_half import Estimates

LEAST, MOST = 0.5, 1.0  # r: effects are one to two times as large in half-data models
OTHERS, FORGOTTEN = 0.5, 0.75  # r of other rows, and of the forgotten ones where nothing tells it


class Shrinkage(NamedTuple):
    """How one group of rows is predicted; the letters are those of `datamodels`."""

    difference: float  # k, in [0, 1]
    size: float  # r
    at_most: float  # k, as far as chance allows


def shrinkage_factor(found: Estimates, half: Tensor, size: float) -> Shrinkage:
    """How far to trust what half-data models say of one group of rows, judged on its probe.

    Args:
        found: differences of means of the probe.
        half: H there, what another source says that half-data models should say, or zeros;
            (rows, C).
        size: r.
    """
    first, second = found.halves - half
    both = float(((first + second) / 2).square().sum())
    if not both:
        return Shrinkage(0.0, size, 0.0)
    repeated, chance = float((first * second).sum()), found.by_chance
    low, high = (min(1.0, max(0.0, (repeated + by) / both)) for by in (-chance, chance))
    return Shrinkage(low, size, high)


def size_of(own: Tensor, half: Tensor) -> float:
    """How far an effect on forgotten rows shrinks from half-data models to all rows: their r.

    Args:
        own: L - L_0 of the probe, what another source says that these rows do; (rows, C).
        half: H, what it says that half-data models should say, or zeros.
    """
    square = float(half.square().sum())
    return min(MOST, max(LEAST, float((own * half).sum()) / square)) if square else FORGOTTEN
