"""Distance: how far one model's margins lie from those of retrained models, in their own spread.

For a row r: z_r = (margin_r - oracle mean_r) / oracle sd_r (unbiased, over oracles); the distance
of a model is the root mean square of z over the rows of a group. A model drawn like the oracles
scores about sqrt((1 + 1/N) (N - 1) / (N - 3)), 1.08 for N = 20, more or less according to how
strongly its rows move together. It serves where there are too few models for KLoM.
Source: of this package; the standard score of a model among retrained models.
"""

import torch
from torch import Tensor

from expunge.audit.margin import check_finite, check_margins
from expunge.errors import BadInput

MIN_ORACLES = 10
SPREAD_FLOOR = 1e-6  # smallest sd, as a share of the largest margin of the row: float32 rounding


def distance(unlearned: Tensor, oracle: Tensor) -> Tensor:
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
    _enough(oracle)
    check_margins(unlearned, oracle)
    return root_mean_square(unlearned, oracle)


def distance_null(oracle: Tensor) -> Tensor:
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
    everyone = range(len(oracle))
    return torch.cat(
        [root_mean_square(oracle[[i]], oracle[[j for j in everyone if j != i]]) for i in everyone]
    )


def root_mean_square(unlearned: Tensor, oracle: Tensor) -> Tensor:
    """`distance` without its conditions: for resampling, where one block of oracles is missing.

    Args:
        unlearned: (M, rows) finite margins.
        oracle: (N, rows) finite margins, N >= 2.

    Returns:
        (M,) distances, float64.
    """
    unlearned, oracle = unlearned.double(), oracle.double()
    spread = oracle.std(0)
    largest = torch.maximum(unlearned.abs(), oracle.abs().amax(0))
    scale = torch.maximum(spread, SPREAD_FLOOR * largest)
    z = (unlearned - oracle.mean(0)) / torch.where(scale > 0, scale, 1.0)
    return z.square().mean(-1).sqrt()


def _enough(oracle: Tensor) -> None:
    if oracle.ndim != 2 or oracle.shape[0] < MIN_ORACLES or oracle.shape[1] == 0:
        raise BadInput(
            f"oracle margins of shape {tuple(oracle.shape)}",
            expected=f"(N, rows) with at least {MIN_ORACLES} oracles and one row",
            cure="retrain more oracles: a spread from fewer says little",
        )
