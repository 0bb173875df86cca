import math
from statistics import NormalDist, fmean

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from expunge.audit.evidence.folder import Evidence
from expunge.audit.metrics.attack import attack, auc, rank, threshold, unseen_like
from expunge.errors import BadInput

law = settings(max_examples=60, deadline=None, derandomize=True, database=None)
NORMAL = NormalDist()


def draw(rows, shift=0.0, seed=0):
    return torch.randn(rows, generator=torch.Generator().manual_seed(seed)).double() + shift


def kernel(x, y):
    return 1.0 if x > y else 0.5 if x == y else 0.0


def delong(members, others):
    """The area and its error by loops over pairs."""
    over = [fmean(kernel(x, y) for y in others) for x in members]
    under = [fmean(kernel(x, y) for x in members) for y in others]
    variance = np.var(over, ddof=1) / len(over) + np.var(under, ddof=1) / len(under)
    return fmean(over), math.sqrt(variance)


ties = arrays(np.int64, st.integers(4, 25), elements=st.integers(-4, 4))


@law
@given(ties, ties)
def test_area_and_error_match_loops_and_scikit_learn(a, b):
    found = attack(torch.from_numpy(a), torch.from_numpy(b))
    assert (found.auc, found.auc_se) == pytest.approx(delong(a.tolist(), b.tolist()), abs=1e-12)
    truth = np.repeat([1, 0], [len(a), len(b)])
    assert found.auc == pytest.approx(roc_auc_score(truth, np.concatenate([a, b])), abs=1e-12)
    assert (found.members, found.nonmembers) == (len(a), len(b))


@law
@given(ties, ties)
def test_area_depends_on_ranks_only_and_turns_around_with_the_groups(a, b):
    a, b = torch.from_numpy(a).double(), torch.from_numpy(b).double()
    found = attack(a, b, fprs=(0.1,))
    bent = attack(a.exp() + 7, b.exp() + 7, fprs=(0.1,))
    assert (bent.auc, bent.auc_se, bent.tpr_at) == (found.auc, found.auc_se, found.tpr_at)
    for turned in (attack(b, a), attack(-a, -b)):
        assert turned.auc == pytest.approx(1 - found.auc, abs=1e-12)
        assert turned.auc_se == pytest.approx(found.auc_se, abs=1e-12)


def test_scores_that_are_all_equal_say_nothing():
    found = attack(torch.ones(8), torch.ones(200), fprs=(0.1,))
    assert (found.auc, found.auc_se, found.accuracy, found.advantage) == (0.5, 0, 0.5, 0)
    assert found.tpr_at[0].tpr == 0  # nobody above the threshold: never more alarms than promised


@pytest.mark.filterwarnings("error")
def test_the_error_of_an_area_of_one_row_takes_the_largest_variance():
    four = torch.tensor([0.0, 1.0, 2.0, 3.0]).double()
    area, error = auc(torch.tensor([2.5]).double(), four)  # above three of four: 0, 1 or 1 each
    assert area == 0.75
    assert error == pytest.approx(math.sqrt(0.75 * 0.25 / 1 + 0.25 / 4), abs=1e-12)
    assert auc(four, torch.tensor([2.5]).double()) == pytest.approx((0.25, error), abs=1e-12)
    assert auc(four[:1], four[1:2]) == (0, 0)
    assert auc(four[:1], four[:1]) == pytest.approx((0.5, math.sqrt(0.5)), abs=1e-12)


def test_groups_that_do_not_overlap_are_told_apart_entirely():
    found = attack(draw(50, 100.0), draw(200, 0.0, 1), fprs=(0.01,))
    assert (found.auc, found.auc_se, found.accuracy, found.advantage) == (1, 0, 1, 1)
    assert found.tpr_at[0].tpr == 1
    # the score that says the opposite is not turned around
    opposite = attack(draw(200, 0.0, 1), draw(50, 100.0))
    assert opposite.auc == 0
    assert opposite.accuracy == 0.5


def test_the_interval_of_the_area_covers_one_half_as_often_as_it_says():
    # 1,000 intervals of 90 %: binomial sd 9.5, so outside 853 to 947 by chance once in a million;
    # an error off by a fifth either way (coverage 81 % or 95.2 %) is found
    covered = 0
    for i in range(1000):
        area, se = auc(draw(60, 0, 2 * i), draw(90, 0, 2 * i + 1))
        covered += abs(area - 0.5) <= 1.645 * se
    assert 853 <= covered <= 947


def test_without_a_signal_the_accuracy_is_one_half_even_with_few_rows():
    # 8 against 8 rows: a threshold judged on its own rows would score about 0.69. The sd of one
    # value is about 0.12, of the mean of 400 about 0.006
    values = [attack(draw(8, 0, 2 * i), draw(8, 0, 2 * i + 1), (), i).accuracy for i in range(400)]
    assert abs(fmean(values) - 0.5) <= 5 * 0.006


def test_the_error_of_the_accuracy_covers_one_half():
    # measured coverage of the 90 % interval 0.88 to 0.93; 400 intervals, binomial sd 6
    covered = 0
    for i in range(400):
        found = attack(draw(80, 0, 2 * i), draw(120, 0, 2 * i + 1), (), i)
        covered += abs(found.accuracy - 0.5) <= 1.645 * found.accuracy_se
    assert 352 - 30 <= covered <= 372 + 30


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_a_planted_shift_is_found_at_the_power_of_theory(shift):
    a, b = draw(20_000, shift, 1), draw(20_000, 0, 2)
    found = attack(a, b)
    assert abs(found.auc - NORMAL.cdf(shift / math.sqrt(2))) <= 5 * found.auc_se
    assert abs(found.accuracy - NORMAL.cdf(shift / 2)) <= 5 * found.accuracy_se
    assert max(found.auc_se, found.accuracy_se) < 0.003
    for rate in found.tpr_at:
        z = NORMAL.inv_cdf(rate.fpr)
        power = NORMAL.cdf(shift + z)
        # the threshold's own error, times the slope of the curve, and that of counting
        slope = NORMAL.pdf(shift + z) / NORMAL.pdf(z)
        sd = math.hypot(
            slope * math.sqrt(rate.fpr / 20_000), math.sqrt(power * (1 - power) / 20_000)
        )
        assert rate.tpr is not None
        assert abs(rate.tpr - power) <= 5 * sd


def test_without_a_signal_the_true_positive_rate_is_the_false_one():
    # 99 non-members at 1 %: the largest is to be beaten, P = 1 / 100. The sd of a value is about
    # 0.014 + counting, of the mean of 800 below 7e-4; the usual rule would give 2 / 100
    rates = [
        attack(draw(50, 0, 2 * i), draw(99, 0, 2 * i + 1), (0.01,)).tpr_at[0].tpr
        for i in range(800)
    ]
    assert abs(np.mean([rate for rate in rates if rate is not None]) - 0.01) <= 5 * 7e-4
    assert None not in rates


def test_a_rate_that_too_few_rows_cannot_show_is_not_given():
    one, two = attack(draw(10), draw(98)), attack(draw(10), draw(99))
    assert [rate.tpr for rate in one.tpr_at] == [None, None]
    assert one.tpr_at[0].low is one.tpr_at[0].high is None
    assert two.tpr_at[0].tpr is not None
    assert two.tpr_at[1].tpr is None
    assert [rank(f, n) for f, n in ((0.01, 98), (0.01, 99), (0.001, 999), (0.07, 99))] == [
        0,
        1,
        1,
        7,
    ]


def test_the_rate_counts_members_strictly_above_the_right_non_member():
    others = torch.arange(19.0)  # at 10 %: k = 2, so 17 is to be beaten
    members = torch.tensor([16.0, 17.0, 17.5, 18.0, 30.0])
    rate = attack(members, others, fprs=(0.1,)).tpr_at[0]
    assert rate.tpr == 0.6
    exact = binomtest(3, 5).proportion_ci(0.95, "exact")
    assert (rate.low, rate.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("called", [0, 4])
def test_the_interval_is_exact_at_its_ends(called):
    members = torch.cat([torch.full((called,), 99.0), torch.full((4 - called,), -1.0)])
    rate = attack(members, torch.arange(19.0), fprs=(0.1,)).tpr_at[0]
    exact = binomtest(called, 4).proportion_ci(0.95, "exact")
    assert (rate.low, rate.high) == pytest.approx((exact.low, exact.high))


@law
@given(ties, ties)
def test_the_threshold_is_the_best_of_all(a, b):
    cut = threshold(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    tried = [(a >= c).mean() - (b >= c).mean() for c in np.arange(-5, 6) - 0.5]
    assert (a >= cut).mean() - (b >= cut).mean() == pytest.approx(max(0, *tried))
    assume(math.isfinite(cut) and cut > min(a.min(), b.min()))
    assert cut % 1 != 0 or not np.isin(cut, [a.max(), b.max()])


def test_the_threshold_lies_between_neighbours_however_near():
    low = torch.tensor([1.0], dtype=torch.float64)
    for high in (1.0 + 2**-52, 3.0, 1e308):
        cut = threshold(torch.tensor([high], dtype=torch.float64), low)
        assert 1.0 < cut <= high
    assert threshold(torch.tensor([3.0]), torch.tensor([1.0])) == 2
    assert threshold(torch.tensor([1.0]), torch.tensor([3.0])) == math.inf


def test_groups_of_unequal_size_weigh_the_same():
    a, b = draw(100, 1.0, 1), draw(5000, 0, 2)
    found = attack(a, b)
    assert abs(found.accuracy - NORMAL.cdf(0.5)) <= 5 * found.accuracy_se
    assert attack(a, b, seed=1).accuracy != found.accuracy
    assert attack(a, b) == found


def test_what_cannot_be_attacked_is_refused():
    x = torch.arange(4.0)
    with pytest.raises(BadInput, match=r"member scores of shape \(3,\)"):
        attack(x[:3], x)
    with pytest.raises(BadInput, match=r"nonmember scores of shape \(2, 2\)"):
        attack(x, x.view(2, 2))
    with pytest.raises(BadInput, match="1 of them not finite"):
        attack(x, torch.tensor([0, 1, 2, math.inf]))
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(BadInput, match="a false positive rate of"):
            attack(x, x, fprs=(0.5, bad))


def test_forgotten_rows_are_compared_with_test_rows_of_their_classes():
    given = {"forget": torch.tensor([1]), "test": torch.tensor([0, 1])}
    for test, like in (([0, 1], [False, True]), ([0, 0], [True, True])):
        targets = {**given, "test": torch.tensor(test)}
        made = Evidence({}, {}, None, {}, targets, None, "classification")
        assert unseen_like(made).tolist() == like
