"""The linear datamodelling score that a perfect prediction of the expected truth would reach.

The truth of a held-out subset is the mean of a few models, and their seeds are noise that nothing
predicts. Let r be the score of one half of each subset's models against the other half. The mean of
all has reliability 2 r / (1 + r), and its expectation correlates with it by the root of that.
Source: Spearman 1910 and Brown 1910, on lengthening a test by a factor of two.
What it hides: both formulas are those of Pearson's correlation, taken for ranks; and with a number
of models that is odd the halves are not equal, which makes the ceiling a little too low.
"""

from dataclasses import dataclass
from itertools import combinations, islice

import torch
from torch import Tensor

from expunge.audit.metrics.lds import MIN_SUBSETS, rank_correlation
from expunge.audit.metrics.resample import jackknife
from expunge.errors import BadInput

SPLITS = 20  # ways to cut the models into halves, at most
BLOCKS = 20  # of subsets, for the jackknife


@dataclass(frozen=True)
class Ceiling:
    """What noise of the truth leaves of a linear datamodelling score.

    Attributes:
        value: score that the expected truth itself would have, 0 to 1; 0 where halves disagree.
        low: the same at two standard errors below, by a jackknife over subsets.
        high: at two above.
        halves: r, mean over ways to cut the models into halves, as it is.
        models: a subset.
    """

    value: float
    low: float
    high: float
    halves: float
    models: int


def ceiling(true: Tensor) -> Ceiling:
    """How far the truth repeats.

    Args:
        true: (subsets, models, outputs) of each model by itself.

    Raises:
        BadInput: fewer than 10 subsets or 2 models.
    """
    subsets, models = true.shape[:2]
    if subsets < MIN_SUBSETS or models < 2:
        raise BadInput(
            f"{subsets} held-out subsets of {models} model(s) each",
            expected=f"at least {MIN_SUBSETS} subsets of 2 models",
            fix="hold out more subsets, and train more models on each",
        )
    true = true.double()
    halves = float(_agreement(true))
    se = float(jackknife(lambda kept, _: _agreement(kept), true, true[:1], BLOCKS))
    low, value, high = (_lengthened(halves + k * se) for k in (-2, 0, 2))
    return Ceiling(value, low, high, halves, models)


def _agreement(true: Tensor) -> Tensor:
    """Mean rank correlation over outputs and over ways to cut the models into halves."""
    models = range(true.shape[1])
    found = []
    for chosen in islice(combinations(models, len(models) // 2), SPLITS):
        rest = [k for k in models if k not in chosen]
        pair = true[:, list(chosen)].mean(1), true[:, rest].mean(1)
        found.append(rank_correlation(*pair).mean())
    return torch.stack(found).mean()


def _lengthened(halves: float) -> float:
    halves = min(max(halves, 0.0), 1.0)
    return (2 * halves / (1 + halves)) ** 0.5
