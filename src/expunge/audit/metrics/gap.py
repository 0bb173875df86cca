"""Gaps: how far a method's metrics lie from those of retrained models, and their average.

The average gap of the tables of SalUn and its relatives is the mean over metrics (accuracy on
forgotten rows as UA = 100 - accuracy, on retained rows RA, on test rows TA, and MIA) of
|mean over models of the method - mean over models of Retrain|, in percentage points.
Source: Fan et al. 2024, SalUn, arXiv 2310.12508, tables of random forgetting.
Differs: with errors, and with what chance alone would give. As absolute values cannot cancel, even
a perfect method scores above 0; `chance` is that expectation, and a smaller gap says nothing.
What it hides: four unlike quantities weigh the same, and an MIA above Retrain's (over-forgetting)
counts like one below. Choosing settings by it uses the answer: it needs Retrain.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.audit.metrics.resample import jackknife
from expunge.errors import BadInput


@dataclass(frozen=True)
class Gap:
    """One metric against retrained models.

    Attributes:
        mean: mean over the method's models, in percent.
        sd: their spread (unbiased); None for a single model.
        reference: mean over retrained models, in percent.
        reference_sd: their spread; None for a single model.
        gap: mean - reference, in percentage points; signed.
        se: Welch's standard error of `gap`, from both spreads; None if either is None.
    """

    mean: float
    sd: float | None
    reference: float
    reference_sd: float | None
    gap: float
    se: float | None


@dataclass(frozen=True)
class Gaps:
    """All metrics, and the average that published tables rank by.

    Attributes:
        metrics: name -> its gap, in the order given.
        average: mean over metrics of |gap|, in percentage points.
        se: its standard error, by a jackknife over models of both sides, those of all metrics
            left out together; None if a side has a single model.
        interval: two standard errors each way, not below 0; None as `se`.
        chance: what a method equal to retraining would be expected to score, from the errors of the
            gaps: mean of se * sqrt(2 / pi); None as `se`.
    """

    metrics: dict[str, Gap]
    average: float
    se: float | None
    interval: tuple[float, float] | None
    chance: float | None


def gaps(values: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Gaps:
    """Compare metrics of a method's models with those of retrained models.

    Args:
        values: metric -> (members,) numbers in percent (100 * accuracy, not accuracy); the same
            models in the same order for every metric.
        reference: the same metrics of retrained models; their number may differ.

    Returns:
        A `Gaps`.

    Raises:
        BadInput: no metric, other metrics on one side, models that differ in number between
            metrics, or numbers outside 0 to 100.
    """
    if not values or values.keys() != reference.keys():
        raise BadInput(
            f"metrics {', '.join(values) or 'none'} against {', '.join(reference) or 'none'}",
            expected="the same names on both sides, at least one",
            fix="measure the retrained models by the same metrics",
        )
    ours, theirs = _table("values", values), _table("reference", reference, list(values))
    metrics = {name: gap(ours[:, i], theirs[:, i]) for i, name in enumerate(values)}
    average = float(_average(ours, theirs))
    errors = [one.se for one in metrics.values() if one.se is not None]
    if not errors:
        return Gaps(metrics, average, None, None, None)
    se = float(jackknife(_average, ours, theirs))
    chance = math.sqrt(2 / math.pi) * sum(errors) / len(errors)
    return Gaps(metrics, average, se, (max(average - 2 * se, 0.0), average + 2 * se), chance)


def _average(values: Tensor, reference: Tensor) -> Tensor:
    return (values.mean(0) - reference.mean(0)).abs().mean()


def gap(values: Tensor, reference: Tensor) -> Gap:
    """One metric of a method's models, (members,), against that of retrained ones, in any unit."""
    mean, wanted = float(values.mean()), float(reference.mean())
    sd, wanted_sd = (float(x.std()) if len(x) > 1 else None for x in (values, reference))
    se = None
    if sd is not None and wanted_sd is not None:
        se = math.hypot(sd / math.sqrt(len(values)), wanted_sd / math.sqrt(len(reference)))
    return Gap(mean, sd, wanted, wanted_sd, mean - wanted, se)


def _table(side: str, metrics: Mapping[str, Tensor], names: list[str] | None = None) -> Tensor:
    """(members, metrics) float64, checked."""
    columns = {name: metrics[name] for name in names or metrics}
    shapes = {name: tuple(column.shape) for name, column in columns.items()}
    first = next(iter(shapes.values()))
    if len(first) != 1 or not first[0] or len(set(shapes.values())) > 1:
        raise BadInput(
            f"{side} have shapes {', '.join(f'{n} {s}' for n, s in shapes.items())}",
            expected="(members,) numbers, as many for every metric, at least one",
            fix="measure every metric on the same models",
        )
    table = torch.stack([column.double() for column in columns.values()], dim=-1)
    if not ((table >= 0) & (table <= 100)).all():
        raise BadInput(
            f"{side} range from {float(table.min())} to {float(table.max())}",
            expected="percentages from 0 to 100, none NaN",
            fix="multiply shares by 100, and look for diverged models if values are NaN",
        )
    return table
