"""Attack: how well one score per row tells the rows of two groups apart.

A membership attack by a single number a row (see `signals`), meant to be higher for members.
Reported are the area under the curve, the accuracy at a threshold chosen on other rows, and the
true positive rate where false alarms are rare. Everything is a rate within a group, so groups of
unequal size weigh the same, and no row has to be thrown away to balance them.
Sources: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, for the error of the area; Clopper
and Pearson 1934, Biometrika 26, for intervals of a rate; Carlini et al. 2022, Membership Inference
Attacks From First Principles, arXiv 2112.03570, for judging attacks at low false positive rates.
The null: two groups that differ by chance alone score area 1/2, accuracy 1/2, TPR = FPR.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.metrics.metric import CLASSES, LOGITS, MOST, Metric, Score, of_oracles
from expunge.audit.metrics.signals import of_model
from expunge.errors import BadInput

FPRS = (0.01, 0.001)
LEVEL = 0.95  # of the intervals of true positive rates
LEAST = 4  # rows of each group: two in each half


@dataclass(frozen=True)
class Rate:
    """The true positive rate at one false positive rate.

    Attributes:
        fpr: the false positive rate allowed, from 0 to 1.
        tpr: share of the members called; None with fewer than 1 / fpr - 1 non-members, from which
            no threshold of that rate can be read.
        low: lower end of its 95 % interval; None as `tpr`.
        high: upper end.
    """

    fpr: float
    tpr: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Attack:
    """How well a score tells members from non-members.

    Attributes:
        auc: probability that a random member scores above a random non-member, ties counting half.
        auc_se: its standard error (DeLong); 0 where the groups do not overlap or all scores tie.
        accuracy: balanced accuracy at a threshold chosen on the other half of the rows.
        accuracy_se: its standard error, thresholds given. With 40 to 1,000 rows it was measured to
            be right without a signal, and up to 1.2 times too small with one.
        tpr_at: one `Rate` for each false positive rate asked for, with exact intervals (Clopper and
            Pearson), thresholds given.
        members: rows of the first group.
        nonmembers: rows of the second.
    """

    auc: float
    auc_se: float
    accuracy: float
    accuracy_se: float
    tpr_at: tuple[Rate, ...]
    members: int
    nonmembers: int

    @property
    def advantage(self) -> float:
        """True minus false positive rate at the threshold of `accuracy`: 2 * accuracy - 1."""
        return 2 * self.accuracy - 1


def attack(
    member_score: Tensor, nonmember_score: Tensor, fprs: Sequence[float] = FPRS, seed: int = 0
) -> Attack:
    """Attack two groups of rows by one score that is meant to be higher for members.

    A score that says the opposite is not turned around: its area is below 1/2, as that of
    forgotten rows is which a method has made stranger than rows never seen.

    Args:
        member_score: (a,) scores, a >= 4.
        nonmember_score: (b,) scores, b >= 4.
        fprs: false positive rates, between 0 and 1.
        seed: cuts the rows into the two halves.

    Returns:
        An `Attack`.

    Raises:
        BadInput: too few rows, another shape, a score that is not finite, or a rate outside (0, 1).
    """
    for name, values in (("member", member_score), ("nonmember", nonmember_score)):
        if values.ndim != 1 or len(values) < LEAST or not values.isfinite().all():
            raise BadInput(
                f"{name} scores of shape {tuple(values.shape)}, "
                f"{int((~values.isfinite()).sum())} of them not finite",
                expected=f"(rows,) finite numbers, at least {LEAST}",
                fix="give one score a row, and more rows",
            )
    check_rates(fprs)
    members, others = member_score.double().cpu(), nonmember_score.double().cpu()
    return Attack(
        *auc(members, others),
        *_accuracy(members, others, seed),
        tuple(_rate(members, others, fpr) for fpr in fprs),
        len(members),
        len(others),
    )


def auc(members: Tensor, others: Tensor) -> tuple[float, float]:
    """Area under the curve and its standard error, without the conditions of `attack`.

    Args:
        members: (a,) scores, a >= 1.
        others: (b,) scores, b >= 1.

    Returns:
        The area, from 0 to 1, and DeLong's standard error. A group of one row shows no variance;
        the largest that shares of this mean can have, area (1 - area), stands in for it.
    """
    # share of the other group that lies below a row, ties counting half
    over = _below(others, members) / len(others)
    under = _below(members, others) / len(members)
    area = over.mean()
    spread = [x.var() if len(x) > 1 else area * (1 - area) for x in (over, under)]
    error = (spread[0] / len(members) + spread[1] / len(others)).sqrt()
    return float(area), float(error)


def _below(ranked: Tensor, values: Tensor) -> Tensor:
    """How many of `ranked` lie below each value, ties counting half."""
    ranked = ranked.sort().values
    strictly = torch.searchsorted(ranked, values)
    return (strictly + torch.searchsorted(ranked, values, right=True)).double() / 2


def _accuracy(members: Tensor, others: Tensor, seed: int) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randperm(len(x), generator=generator) < len(x) // 2 for x in (members, others))
    hits, alarms = torch.empty_like(members), torch.empty_like(others)
    for i, j in ((a, b), (~a, ~b)):
        cut = threshold(members[i], others[j])
        hits[~i], alarms[~j] = (members[~i] >= cut).double(), (others[~j] >= cut).double()
    tpr, fpr = float(hits.mean()), float(alarms.mean())
    variance = tpr * (1 - tpr) / len(hits) + fpr * (1 - fpr) / len(alarms)
    return (tpr + 1 - fpr) / 2, math.sqrt(variance) / 2


def threshold(members: Tensor, others: Tensor) -> float:
    """The score from which to call a row a member, so that TPR - FPR is largest.

    Args:
        members: (a,) scores, a >= 1.
        others: (b,) scores, b >= 1.

    Returns:
        The middle between two neighbouring scores, so that no score is equal to it unless no
        number lies between; infinity if calling nobody a member is best.
    """
    values = torch.cat([members, others]).unique()  # sorted
    shares = [
        1 - torch.searchsorted(group.sort().values, values).double() / len(group)
        for group in (members, others)
    ]
    gain = shares[0] - shares[1]
    best = int(gain.argmax())
    if gain[best] <= 0:
        return math.inf
    upper = float(values[best])
    if best == 0:
        return upper
    lower = float(values[best - 1])
    middle = lower / 2 + upper / 2  # the sum might overflow
    return middle if middle > lower else upper


def rank(fpr: float, nonmembers: int) -> int:
    """The non-member to be beaten, counted from the highest score; 0 if there are too few.

    One more non-member scores above the k-th largest of b with probability k / (b + 1), at most.
    So k = floor(fpr * (b + 1)) keeps the promise, and without a signal TPR = FPR. A curve read at
    its own non-members lets the k-th pass as well: twice the rate where k is 1.

    Args:
        fpr: the rate, between 0 and 1.
        nonmembers: b.

    Returns:
        k; 0 where b is less than 1 / fpr - 1.
    """
    return math.floor(fpr * (nonmembers + 1) + 1e-9)  # 0.07 * 100 is a little above 7


def check_rates(fprs: Sequence[float]) -> None:
    """Refuse false positive rates that are none.

    Args:
        fprs: meant to lie between 0 and 1.

    Raises:
        BadInput: one does not.
    """
    for fpr in fprs:
        if not 0 < fpr < 1:
            raise BadInput(
                f"a false positive rate of {fpr}",
                expected="a number between 0 and 1",
                fix="write 0.01 for 1 %",
            )


def _rate(members: Tensor, others: Tensor, fpr: float) -> Rate:
    from scipy.stats import beta

    k, n = rank(fpr, len(others)), len(members)
    if not k:
        return Rate(fpr, None, None, None)
    called = int((members > others.topk(k).values[-1]).sum())
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, called, n - called + 1)) if called else 0.0
    high = float(beta.ppf(1 - tail, called + 1, n - called)) if called < n else 1.0
    return Rate(fpr, called / n, low, high)


def unseen_like(evidence: Evidence) -> Tensor:
    """Which test rows are of the forgotten rows' classes, bool; all where none are."""
    like = torch.isin(evidence.targets["test"], evidence.targets["forget"])
    return like if like.any() else torch.ones_like(like)


def _by_signal(name: str, signal: str, definition: str) -> Metric:
    """A forgotten row is called a member the lower its signal is, against test rows like it."""

    def measure(file: Outputs, evidence: Evidence) -> Score:
        like = unseen_like(evidence)
        pairs = [
            auc(
                -of_model(signal, file, evidence, "forget", k),
                -of_model(signal, file, evidence, "test", k)[like],
            )
            for k in range(len(file["forget"]))
        ]
        within = [100 * se for _, se in pairs]
        return {"values": [100 * value for value, _ in pairs], "se_within": within}

    needs = (CLASSES,) if signal == "loss" else (CLASSES, LOGITS)
    return Metric(name, "%", "nearer", needs, measure, of_oracles(measure, MOST), definition, MOST)


LOSS = _by_signal(
    "loss AUC",
    "loss",
    "chance that a forgotten row has a smaller loss than a test row of its classes",
)
ENTROPY = _by_signal("entropy AUC", "entropy", "the same with the entropy of the answer")
MODIFIED_ENTROPY = _by_signal(
    "m-entropy AUC", "modified_entropy", "the same with the modified entropy (Song and Mittal)"
)
