"""Calibration: how the predicted change of outputs relates to the change that retraining makes.

The true change of an output is its mean over oracles minus its mean over originals. With a finite
number of models it has noise of its own, estimated from the spread of the models: it keeps even a
perfect prediction below a correlation of 1 (`ceiling`) and above an error of 0 (`noise`).
Source: of this package. The slope is that of least squares through the origin; the ceiling is
the attenuation of Spearman 1904, The Proof and Measurement of Association between Two Things.
What it hides: independent errors of a prediction make the slope less than 1 even where the
prediction is right on average, as they lengthen sum pp; and predictions made from the very
originals that the truth is measured by share their noise, which is not corrected.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from expunge.audit.metrics.resample import jackknife
from expunge.errors import BadInput

MIN_MODELS = 3  # the spread is needed even with one left out
BLOCKS = 10  # of models, for the jackknife
ROUNDING = 1e-14  # of float64, relative


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: two standard errors each way, by a jackknife over models.

    Those of root mean squares are roots of the ends for the mean square, cut off at 0.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Predicted (p) against true (t) changes over all outputs; errors in the unit of the outputs.

    Attributes:
        slope: sum pt / sum pp; below 1 where predictions are too large, 1 / slope is the factor by
            which they are too large. None if all predictions are 0.
        correlation: Pearson's over outputs; None if either side does not vary.
        ceiling: correlation that the true expectation would have with this noisy truth; None as
            `correlation`.
        error: rms of p - t; contains the noise of the truth.
        error_corrected: the same with the noise taken out, not below 0.
        truth: rms of t; what predicting no change would score as `error`.
        truth_corrected: the same with the noise taken out, to compare `error_corrected` with.
        noise: rms standard error of t, which is what a perfect prediction scores as `error`.
        outputs: how many numbers each of these is over.
    """

    slope: Estimate | None
    correlation: Estimate | None
    ceiling: Estimate | None
    error: Estimate
    error_corrected: Estimate
    truth: Estimate
    truth_corrected: Estimate
    noise: Estimate
    outputs: int


def calibration(
    predicted: Tensor, original: Tensor, oracle: Tensor, *, centred: bool = True
) -> Calibration:
    """Compare a predicted change of outputs with the change that retraining makes.

    Intervals are about the models that made the truth: rows and predictions count as fixed. With
    5 models or fewer in a group they are too short (about 87 % of them hold the slope).

    Args:
        predicted: (rows,) or (rows, C), what is added to an output when the rows are forgotten.
        original: (M, rows) or (M, rows, C) of models trained on all rows, M >= 3.
        oracle: (N, rows) or (N, rows, C) of models retrained without them, N >= 3.
        centred: where C > 1, take the mean over the C numbers of a row from each change: logits
            mean the same when a constant is added to them. False for several regression values.

    Returns:
        A `Calibration`.

    Raises:
        BadInput: shapes that do not fit, fewer than 2 outputs, fewer than 3 models in a group, or
            a number that is not finite.
    """
    _check(predicted, original, oracle)
    if centred and predicted.ndim == 2 and predicted.shape[1] > 1:
        predicted, original, oracle = map(_centre, (predicted, original, oracle))
    p = predicted.double().flatten()
    before, after = original.double().flatten(1), oracle.double().flatten(1)

    statistic = partial(_numbers, p)
    values = statistic(before, after).tolist()
    errors = jackknife(statistic, before, after, BLOCKS).tolist()
    slope, correlation, *squares = [
        Estimate(value, value - 2 * se, value + 2 * se)
        for value, se in zip(values, errors, strict=True)
    ]
    ceiling, error, error_corrected, truth, truth_corrected, noise = map(_root, squares)
    true = after.mean(0) - before.mean(0)
    both_vary = float(p.min()) < float(p.max()) and float(true.min()) < float(true.max())
    return Calibration(
        slope if p.any() else None,
        _within(correlation) if both_vary else None,
        _within(ceiling) if both_vary else None,
        *(error, error_corrected, truth, truth_corrected, noise),
        outputs=len(p),
    )


def _centre(outputs: Tensor) -> Tensor:
    outputs = outputs.double()
    around = outputs - outputs.mean(-1, keepdim=True)
    # what rounding leaves of a row of equal numbers is not a change
    rounding = ROUNDING * outputs.abs().amax(-1, keepdim=True)
    return torch.where(around.abs() <= rounding, 0.0, around)


def _numbers(p: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The fields of `Calibration` in their order, from the ceiling on as squares."""
    t = after.mean(0) - before.mean(0)
    around_p, around_t = p - p.mean(), t - t.mean()
    error, truth, noise = (p - t).square().mean(), t.square().mean(), _noise(before, after)
    # the part of the noise that all outputs share moves their mean, not their spread
    aside = _noise(*(x - x.mean(1, keepdim=True) for x in (before, after)))
    slope = _ratio(p @ t, p @ p)
    correlation = _ratio(around_p @ around_t, around_p.norm() * around_t.norm())
    ceiling = 1 - _ratio(aside, around_t.square().mean())
    squares = [ceiling, error, error - noise, truth, truth - noise, noise]
    return torch.stack([slope, correlation, *squares])


def _noise(before: Tensor, after: Tensor) -> Tensor:
    """Sampling variance of the true change, mean over outputs."""
    return before.var(0).mean() / len(before) + after.var(0).mean() / len(after)


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    return torch.where(under > 0, over / torch.where(under > 0, under, 1.0), 0.0)


def _root(square: Estimate) -> Estimate:
    """From a mean square, which is unbiased and may come out below 0, to a root mean square."""
    return Estimate(*(math.sqrt(max(x, 0.0)) for x in (square.value, square.low, square.high)))


def _within(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, max(estimate.low, -1.0), min(estimate.high, 1.0))


def _check(predicted: Tensor, original: Tensor, oracle: Tensor) -> None:
    shapes = [tuple(x.shape) for x in (predicted, original, oracle)]
    if predicted.ndim not in (1, 2) or any(s[1:] != shapes[0] for s in shapes[1:]):
        raise BadInput(
            f"predicted change, originals and oracles of shapes {', '.join(map(str, shapes))}",
            expected="(rows,) or (rows, C), then twice the same with the models in front",
            fix="compute all three on the same rows, either as margins or as outputs",
        )
    if predicted.numel() < 2:
        raise BadInput(
            f"{predicted.numel()} output(s) to compare",
            expected="at least 2",
            fix="compare more rows",
        )
    if min(len(original), len(oracle)) < MIN_MODELS:
        raise BadInput(
            f"{len(original)} originals and {len(oracle)} oracles",
            expected=f"at least {MIN_MODELS} of each, to know the noise of their means",
            fix="train more models",
        )
    for name, values in (("predicted", predicted), ("original", original), ("oracle", oracle)):
        bad = ~values.isfinite().reshape(-1, len(predicted), predicted[0].numel())
        if bad.any():
            row = int(bad.any(0).any(-1).nonzero()[0])
            raise BadInput(
                f"{int(bad.sum())} {name} numbers are NaN or infinite, first in row {row}",
                expected="finite numbers",
                fix="look for a model whose training diverged, or a fit that failed",
            )
