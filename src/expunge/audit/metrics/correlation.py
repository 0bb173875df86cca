"""Pearson's correlation of two measurements, whose points come in groups that are not independent.

Several looks at one training rise together, so that the usual interval, which counts every look as
new evidence, is far too narrow. Source of the jackknife by groups: Kott 2001, The Delete-a-Group
Jackknife; on Fisher's scale, artanh r, where the distribution of r is nearly normal (Fisher 1921).
The null: r = 0.
"""

from dataclasses import dataclass

import torch
from scipy.stats import t
from torch import Tensor

from expunge.errors import BadInput

LEVEL = 0.95


@dataclass(frozen=True)
class Correlation:
    """Pearson's r.

    Attributes:
        value: from -1 to 1; None where one of the two does not vary, or of fewer than three points.
        low: lower end of its 95 % interval; None as `value`, and with fewer than three groups.
        high: upper end.
        points: how many.
        groups: how many are independent.
    """

    value: float | None
    low: float | None
    high: float | None
    points: int
    groups: int


def correlation(x: Tensor, y: Tensor, groups: Tensor) -> Correlation:
    """Correlate.

    Args:
        x: (points,) finite numbers.
        y: (points,) finite numbers.
        groups: (points,) int64; points of one group (the looks at one training) are left out
            together.

    Raises:
        BadInput: shapes that differ, or a number that is not finite.
    """
    fit = x.ndim == 1 and x.shape == y.shape == groups.shape
    if not fit or not (x.isfinite() & y.isfinite()).all():
        raise BadInput(
            f"points of {tuple(x.shape)}, {tuple(y.shape)} and {tuple(groups.shape)} to correlate",
            expected="as many finite numbers of each",
            fix="leave out what was not measured",
        )
    x, y, names = x.double(), y.double(), groups.unique()
    whole, count = _pearson(x, y), len(names)
    without = [_pearson(x[groups != g], y[groups != g]) for g in names] if count > 2 else []
    if whole is None or not without or any(r is None for r in without):
        return Correlation(whole, None, None, len(x), count)
    centre, left = _artanh(whole), torch.stack([_artanh(r) for r in without if r is not None])
    variance = (count - 1) / count * (left - left.mean()).square().sum()
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1)) * variance.sqrt()
    low, high = float((centre - reach).tanh()), float((centre + reach).tanh())
    return Correlation(whole, low, high, len(x), count)


def _pearson(x: Tensor, y: Tensor) -> float | None:
    if len(x) < 3 or x.min() == x.max() or y.min() == y.max():
        return None
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def _artanh(r: float) -> Tensor:
    return torch.tensor(min(max(r, -1 + 1e-12), 1 - 1e-12), dtype=torch.float64).atanh()
