"""U-LiRA: whether the margin of a row tells a model that forgot it from one that never saw it.

For every row one Gaussian is fitted to the margins of unlearned models and one to those of oracles,
and a model is scored by the log-likelihood ratio of the two. Positives are unlearned models, that
is, trained on the row and made to forget it. An accuracy of 1/2 is perfect forgetting; the null is
oracle against oracle.
Source: Hayes et al. 2024, Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense
of Privacy, arXiv 2403.01218; after Carlini et al. 2022, arXiv 2112.03570.
Differs: the original trains shadow models on random subsets, forgets random sets from them, and
attacks further target models. Here the forget set is fixed and models are dear, so each model is
shadow and target in turn: it is scored by Gaussians fitted without its fold. A fold leaves out
both groups, so that held-out models of equal groups differ by nothing and are called alike.
Few models blur the Gaussians and hide a trace. Measured for a shift of one sd, where the best
attack is right in 0.691: 0.664 with 10 and 10 models, 0.686 with 30, 0.690 with 100.
Cost: one pass over the margins a fold, 21 with errors: 4 s for 100 and 100 models on 10,000 rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.margin import check_margins
from expunge.audit.metrics.attack import FPRS, Rate, check_rates, rank
from expunge.audit.metrics.metric import MARGINS, NULL, Measure, Metric, Score, models, of_second
from expunge.audit.metrics.resample import jackknife
from expunge.errors import BadInput

MIN_MODELS = 10  # on each side
FOLDS = 10
SPREAD_FLOOR = 1e-6  # smallest sd, as a share of the largest margin of the row: float32 rounding


class Gaussian(NamedTuple):
    """Mean and standard deviation of the margins of each row, (rows,) both."""

    center: Tensor
    spread: Tensor


@dataclass(frozen=True)
class ULira:
    """Scores of every model on every row, by Gaussians that were fitted without that model.

    Attributes:
        unlearned_scores: (M, rows) log-likelihood ratios in nats; above 0 means called unlearned.
        oracle_scores: (N, rows) the same for the oracles.
    """

    unlearned_scores: Tensor
    oracle_scores: Tensor

    @property
    def unlearned_called(self) -> Tensor:
        """(M, rows) bool: pairs called unlearned, rightly; a ratio of exactly 1 is not called."""
        return self.unlearned_scores > 0

    @property
    def oracle_called(self) -> Tensor:
        """(N, rows) bool: pairs called unlearned, wrongly."""
        return self.oracle_scores > 0

    @property
    def row_accuracy(self) -> Tensor:
        """(rows,) balanced accuracy of the calls, float64; 1/2 is guessing."""
        hits, alarms = (x.double().mean(0) for x in (self.unlearned_called, self.oracle_called))
        return (hits + 1 - alarms) / 2


@dataclass(frozen=True)
class Pooled:
    """What an attacker achieves over all rows.

    Errors leave out blocks of models and fit again. Measured with 10 to 100 models: 0.95 to 2.0
    times the true spread, so that they err to the careful side.

    Attributes:
        accuracy: balanced accuracy averaged over rows.
        accuracy_se: its standard error.
        tpr_at: over all pairs of a model and a row, by one threshold for all, one `Rate` for each
            false positive rate asked for; its interval is two standard errors each way.
    """

    accuracy: float
    accuracy_se: float
    tpr_at: tuple[Rate, ...]


def ulira(unlearned: Tensor, oracle: Tensor, folds: int = FOLDS, seed: int = 0) -> ULira:
    """Score every model on every row.

    Where the models of a fit (nearly) agree, their sd is taken as 1e-6 of the largest absolute
    margin of that row: margins are kept as float32, and what lies below is rounding. A row on
    which all models agree scores 0.

    Args:
        unlearned: (M, rows) margins, M >= 10.
        oracle: (N, rows) margins of models retrained without the forgotten rows, N >= 10.
        folds: parts of each group that are scored by the others, from 2 to 10.
        seed: draws which models share a fold.

    Returns:
        A `ULira`.

    Raises:
        BadInput: wrong shapes, fewer than 10 models in a group, a number of folds out of range,
            or a margin that is not finite.
    """
    _check(unlearned, oracle, folds)
    fold, oracle_fold = _folds(len(unlearned), len(oracle), folds, seed)
    return _score(unlearned.double(), oracle.double(), fold, oracle_fold)


def pooled(
    unlearned: Tensor,
    oracle: Tensor,
    fprs: Sequence[float] = FPRS,
    folds: int = FOLDS,
    seed: int = 0,
) -> Pooled:
    """Accuracy and true positive rates over all rows, with errors.

    Args:
        unlearned: (M, rows) margins, M >= 10.
        oracle: (N, rows) margins, N >= 10.
        fprs: false positive rates, between 0 and 1.
        folds: as in `ulira`.
        seed: as in `ulira`.

    Returns:
        A `Pooled`.

    Raises:
        BadInput: as `ulira`, or a rate outside (0, 1).
    """
    _check(unlearned, oracle, folds)
    check_rates(fprs)
    fold, oracle_fold = _folds(len(unlearned), len(oracle), folds, seed)
    u, o = unlearned.double(), oracle.double()

    def statistic(i: Tensor, j: Tensor) -> Tensor:
        return _summary(_score(u[i], o[j], fold[i], oracle_fold[j]), fprs)

    everyone = torch.arange(len(u)), torch.arange(len(o))
    value, se = statistic(*everyone).tolist(), jackknife(statistic, *everyone).tolist()
    rates = [
        Rate(f, t, max(t - 2 * e, 0.0), min(t + 2 * e, 1.0))
        if rank(f, o.numel())
        else Rate(f, None, None, None)
        for f, t, e in zip(fprs, value[1:], se[1:], strict=True)
    ]
    return Pooled(value[0], se[0], tuple(rates))


def _score(unlearned: Tensor, oracle: Tensor, fold: Tensor, oracle_fold: Tensor) -> ULira:
    scores = ULira(torch.empty_like(unlearned), torch.empty_like(oracle))
    largest = torch.maximum(unlearned.abs().amax(0), oracle.abs().amax(0))
    floor = torch.where(largest > 0, SPREAD_FLOOR * largest, 1.0)
    for number in torch.cat([fold, oracle_fold]).unique():
        held, held_oracle = fold == number, oracle_fold == number
        p, q = _gaussian(unlearned[~held], floor), _gaussian(oracle[~held_oracle], floor)
        scores.unlearned_scores[held] = _ratio(unlearned[held], p, q)
        scores.oracle_scores[held_oracle] = _ratio(oracle[held_oracle], p, q)
    return scores


def _gaussian(margins: Tensor, floor: Tensor) -> Gaussian:
    return Gaussian(margins.mean(0), torch.maximum(margins.std(0), floor))


def _ratio(margins: Tensor, p: Gaussian, q: Gaussian) -> Tensor:
    """Give log p(margins) - log q(margins), in nats."""
    far_p, far_q = ((margins - g.center) / g.spread for g in (p, q))
    return (far_q.square() - far_p.square()) / 2 + (q.spread.log() - p.spread.log())


def _summary(scores: ULira, fprs: Sequence[float]) -> Tensor:
    """(1 + rates,) accuracy, then true positive rates."""
    flat, oracle = scores.unlearned_scores.flatten(), scores.oracle_scores.flatten()
    # with blocks left out, at least the largest
    ranks = [max(1, rank(fpr, len(oracle))) for fpr in fprs]
    top = oracle.topk(max(ranks, default=1)).values
    rates = [(flat > top[k - 1]).double().mean() for k in ranks]
    return torch.stack([scores.row_accuracy.mean(), *rates])


def _folds(models: int, oracles: int, folds: int, seed: int) -> tuple[Tensor, Tensor]:
    """(M,) and (N,) numbers of folds, each as often as the others or once more."""
    generator = torch.Generator().manual_seed(seed)
    one, two = (torch.randperm(n, generator=generator) % folds for n in (models, oracles))
    return one, two


def _check(unlearned: Tensor, oracle: Tensor, folds: int) -> None:
    check_margins(unlearned, oracle)
    if not unlearned.shape[1]:
        raise BadInput(
            "no rows", expected="at least one row", fix="give the margins of the forgotten rows"
        )
    if min(len(unlearned), len(oracle)) < MIN_MODELS:
        raise BadInput(
            f"{len(unlearned)} unlearned models and {len(oracle)} oracles",
            expected=f"at least {MIN_MODELS} of each",
            fix="train more: a Gaussian fitted to fewer hides the traces it is to find",
        )
    if not 2 <= folds <= MIN_MODELS:
        raise BadInput(
            f"folds={folds}",
            expected=f"2 to {MIN_MODELS}, so that every fold holds models of both groups",
            fix=f"leave it out to get {FOLDS}",
        )


def _pooled(file: Outputs, evidence: Evidence) -> Pooled:
    return pooled(
        evidence.margins(file, "forget")[:], evidence.margins(evidence.oracle, "forget")[:]
    )


def _accuracy(file: Outputs, evidence: Evidence) -> Score:
    found = evidence.once(_pooled, file)
    return {"value": 100 * found.accuracy, "se": 100 * found.accuracy_se}


def _metric(name: str, measure: Measure, definition: str) -> Metric:
    needs, null = (MARGINS, models(MIN_MODELS), NULL), of_second(measure)
    return Metric(name, "%", "nearer", needs, measure, null, definition)


def _rate_metric(index: int, name: str, definition: str) -> Metric:
    def measure(file: Outputs, evidence: Evidence) -> Score:
        rate = evidence.once(_pooled, file).tpr_at[index]
        if rate.tpr is None or rate.low is None or rate.high is None:
            return {"value": None}
        return {"value": 100 * rate.tpr, "low": 100 * rate.low, "high": 100 * rate.high}

    return _metric(name, measure, definition)


ACCURACY = _metric(
    "U-LiRA", _accuracy, "accuracy of an attack with shadow models of its own for each row"
)
TPR_1 = _rate_metric(0, "U-LiRA TPR@1%", "its true positive rate at 1 % false positives")
TPR_01 = _rate_metric(1, "U-LiRA TPR@0.1%", "its true positive rate at 0.1 % false positives")
