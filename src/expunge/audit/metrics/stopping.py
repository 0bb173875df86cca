"""Stopping: how likely each row's margin is among retrained models, at every step of a run.

For a row r the oracles' margins are taken as normal with mean mu_r and unbiased variance s_r^2; a
margin m scores log N(m; mu_r, s_r^2) = -((m - mu_r) / s_r)^2 / 2 - log s_r - log(2 pi) / 2 nats.
Source: Georgiev et al. 2024, Attribute-to-Delete, arXiv 2410.23232, Figures 2 and 5: rows reach the
oracles after different numbers of steps, and pass them if the run goes on. Differs: overshooting
has a threshold, and the oracles' own score is measured.
"""

import math

import torch
from torch import Tensor

from expunge.audit.evidence.margin import check_finite
from expunge.audit.metrics.distance import MIN_ORACLES, SPREAD_FLOOR
from expunge.errors import BadInput

FAR = 2.0  # standard deviations of the oracles past their mean: one of 44 fresh oracles is there
CENTRAL = 0.9  # share of the oracles' own scores within the band


def likelihood(margins: Tensor, oracle: Tensor) -> Tensor:
    """Gaussian log-density of every margin under the oracles' margins of the same row.

    The density of a row on which the oracles (nearly) agree would have no upper bound, so that sd
    is at least 1e-6 of the largest absolute oracle margin of the row: float32 tells no more. Unlike
    in `distance` the judged margins have no part in it, or it would not be one density.

    Args:
        margins: (steps, members, rows) of models on their way.
        oracle: (N, rows) of models retrained without the forgotten rows, N >= 10.

    Returns:
        (steps, members, rows) log-densities in nats per unit of the margin, float64.

    Raises:
        BadInput: wrong shapes, fewer than 10 oracles, no rows, or a margin that is not finite.
    """
    _check(margins, oracle, ("steps", "members", "rows"))
    return _density(margins.double(), oracle.double())


def overshoots(margins: Tensor, original: Tensor, oracle: Tensor) -> Tensor:
    """Which rows pass the oracles at some step, to the side away from the original.

    Past means by more than two standard deviations of the oracles, which one of 44 fresh oracles
    also is by chance, at any one step. As in `overshoot`, the side is that of the oracles' mean
    seen from the original. Rows are not averaged here, so that errors of a regression need no
    absolute value: they cannot cancel.

    Args:
        margins: (steps, rows) of one model on its way, or means over models.
        original: (rows,) margins before the first step.
        oracle: (N, rows) margins, N >= 10.

    Returns:
        (rows,) bool; False where the original stands exactly at the oracles' mean.

    Raises:
        BadInput: as `likelihood`.
    """
    _check(margins, oracle, ("steps", "rows"))
    _check(original, oracle, ("rows",))
    centre, spread = _fit(oracle.double())
    away = torch.sign(centre - original.double())
    return (away * (margins.double() - centre) > FAR * spread).any(0)


def oracle_band(oracle: Tensor) -> tuple[float, float]:
    """What a typical oracle scores on a typical row: the central 90 % of their log-densities.

    Each oracle in turn is left out and scored under the other N - 1, as a model would be that had
    no part in the fit; else oracles would seem more likely than a perfect method can be.

    Args:
        oracle: (N, rows) margins, N >= 10.

    Returns:
        The 5th and 95th percentile in nats, over oracles and rows.

    Raises:
        BadInput: as `likelihood`.
    """
    _check(oracle, oracle, ("N", "rows"))
    values = oracle.double()
    everyone = range(len(values))
    scores = torch.stack(
        [_density(values[i], values[[j for j in everyone if j != i]]) for i in everyone]
    )
    # sorted by hand: torch.quantile refuses more than 16 million numbers
    ranked = scores.flatten().sort().values
    tail = (1 - CENTRAL) / 2
    low, high = (ranked[round(share * (len(ranked) - 1))] for share in (tail, 1 - tail))
    return float(low), float(high)


def _density(margins: Tensor, oracle: Tensor) -> Tensor:
    centre, spread = _fit(oracle)
    z = (margins - centre) / spread
    return -z.square() / 2 - spread.log() - math.log(2 * math.pi) / 2


def _fit(oracle: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and floored sd of each row; rows whose oracles all say 0 get an sd of 1."""
    spread = torch.maximum(oracle.std(0), SPREAD_FLOOR * oracle.abs().amax(0))
    return oracle.mean(0), torch.where(spread > 0, spread, 1.0)


def _check(margins: Tensor, oracle: Tensor, axes: tuple[str, ...]) -> None:
    if oracle.ndim != 2 or oracle.shape[0] < MIN_ORACLES or oracle.shape[1] == 0:
        raise BadInput(
            f"oracle margins of shape {tuple(oracle.shape)}",
            expected=f"(N, rows) with at least {MIN_ORACLES} oracles and one row",
            fix="retrain more oracles: a spread from fewer says little",
        )
    if margins.ndim != len(axes) or not margins.numel() or margins.shape[-1] != oracle.shape[1]:
        raise BadInput(
            f"margins of shape {tuple(margins.shape)} with oracles of {tuple(oracle.shape)}",
            expected=f"({', '.join(axes)}{',' if len(axes) == 1 else ''}), on the same rows",
            fix="compute both on the same rows, and keep the axes in this order",
        )
    check_finite("oracle", oracle)
    check_finite("unlearned", margins.reshape(-1, margins.shape[-1]))
