"""Linear datamodelling score: does an attribution rank training sets by what their models say?

For each output, the Spearman rank correlation over held-out subsets of the training rows between
predicted and true outputs; the score is the mean over outputs.
Source: Park et al. 2023, TRAK: Attributing Model Behavior at Scale, arXiv 2303.14186, section 2;
after Ilyas et al. 2022, Datamodels: Predicting Predictions from Training Data, arXiv 2202.00622.
Differs: the interval is about which subsets were held out (a jackknife), and what chance alone
would give stands beside the score.
What it hides: ranks are blind to scale and shift, so predictions ten times too large score as
well as right ones (see `calibration`); and where the truth of a subset is a single model, its
seed keeps even a perfect prediction below 1.
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor

from expunge.audit.metrics.resample import jackknife
from expunge.errors import BadInput

MIN_SUBSETS = 10
BLOCKS = 20  # of subsets, for the jackknife


@dataclass(frozen=True)
class Lds:
    """A linear datamodelling score with its spread and its null.

    Attributes:
        value: mean rank correlation over outputs, from -1 to 1.
        se: its standard error over the choice of subsets, by a delete-a-block jackknife. With few
            subsets ranks also bias the score to 0, by up to about 0.6 / subsets.
        low: lower end of the interval: two standard errors each way, not below -1.
        high: upper end, not above 1.
        chance: standard deviation of the score if predictions were dealt to subsets at random;
            the mean is then 0. Outputs that move together make it larger than 1 / sqrt(outputs).
        subsets: how many were held out.
        outputs: how many the mean is over.
        constant: outputs left out because their truth is the same for all subsets.
    """

    value: float
    se: float
    low: float
    high: float
    chance: float
    subsets: int
    outputs: int
    constant: int


def lds(predicted: Tensor, true: Tensor) -> Lds:
    """Score predictions of what models trained on held-out subsets say.

    An output whose prediction is the same for all subsets, while its truth is not, counts as 0.

    Args:
        predicted: (subsets, outputs) in any unit; only the order within an output is read.
            Margins of rows are the usual outputs; logits of C classes a row are C outputs.
        true: (subsets, outputs) of models trained on these subsets, none of which the
            attribution was fitted on.

    Returns:
        An `Lds`.

    Raises:
        BadInput: fewer than 10 subsets, shapes that differ, a number that is not finite, or no
            output whose truth varies.
    """
    _check(predicted, true)
    varies = _varies(true)
    outputs = int(varies.sum())
    if outputs == 0:
        raise BadInput(
            f"the truth of all {len(varies)} outputs is the same for every subset",
            expected="an output that changes with the training rows",
            fix="give the outputs of models that were trained, each on its own subset",
        )
    pairs = torch.stack([predicted[:, varies], true[:, varies]], dim=1).double()
    value = float(_score(pairs))
    # a group of one adds nothing to the jackknife: the subsets are the only models here
    se = float(jackknife(lambda kept, _: _score(kept), pairs, pairs[:1], BLOCKS))
    return Lds(
        value=value,
        se=se,
        low=max(value - 2 * se, -1.0),
        high=min(value + 2 * se, 1.0),
        chance=_chance(pairs),
        subsets=len(pairs),
        outputs=outputs,
        constant=len(varies) - outputs,
    )


def rank_correlation(predicted: Tensor, true: Tensor) -> Tensor:
    """Spearman's correlation over subsets of each output; ties share the mean of their ranks.

    Args:
        predicted: (subsets, outputs), finite.
        true: (subsets, outputs), finite.

    Returns:
        (outputs,) correlations from -1 to 1, float64; 0 where either side is constant.
    """
    return (_unit_ranks(predicted) * _unit_ranks(true)).sum(0)


def _score(pairs: Tensor) -> Tensor:
    predicted, true = pairs.unbind(1)
    # without a block of subsets, an output may have become constant
    return rank_correlation(predicted, true).sum() / _varies(true).sum().clamp(min=1)


def _varies(values: Tensor) -> Tensor:
    return values.amax(0) > values.amin(0)


def _unit_ranks(values: Tensor) -> Tensor:
    """Ranks within each column, centred and of length 1; a constant column becomes zeros."""
    ranks = torch.from_numpy(rankdata(values.numpy(), axis=0)) - (len(values) + 1) / 2
    length = ranks.norm(dim=0)
    return ranks / torch.where(length > 0, length, 1.0)


def _chance(pairs: Tensor) -> float:
    """The exact sd of the score over all ways to pair predictions with subsets.

    The score is sum_s A[s, s] with A = P T' / outputs, whose rows and columns sum to 0; over
    permutations its variance is |A|^2 / (subsets - 1) (Hoeffding 1951, A Combinatorial Central
    Limit Theorem).
    """
    predicted, true = map(_unit_ranks, pairs.unbind(1))
    every_pair = predicted @ true.T / true.shape[1]
    return float(every_pair.norm()) / math.sqrt(len(true) - 1)


def _check(predicted: Tensor, true: Tensor) -> None:
    shapes = [tuple(x.shape) for x in (predicted, true)]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] == 0:
        raise BadInput(
            f"predicted and true outputs of shapes {shapes[0]} and {shapes[1]}",
            expected="(subsets, outputs) twice, the same, at least one output",
            fix="compute both for the same subsets and rows; put rows and classes into one axis",
        )
    if len(true) < MIN_SUBSETS:
        raise BadInput(
            f"{len(true)} held-out subsets",
            expected=f"at least {MIN_SUBSETS}",
            fix="hold out more: rank correlations over fewer say little",
        )
    for name, values in (("predicted", predicted), ("true", true)):
        bad = ~values.isfinite()
        if bad.any():
            raise BadInput(
                f"{int(bad.sum())} {name} outputs are NaN or infinite, first in subset "
                f"{int(bad.any(1).nonzero()[0])}",
                expected="finite numbers",
                fix="look for a model whose training diverged, or a fit that failed",
            )
