"""correlation(): Pearson's r by hand, and an interval that counts trainings and not looks."""

import math

import pytest
import torch
from scipy.stats import t

from expunge.audit.metrics.correlation import correlation
from expunge.errors import BadInput


def ask(x, y, groups):
    return correlation(torch.tensor(x), torch.tensor(y), torch.tensor(groups))


def noisy(n, seed=0, slope=1.0):
    g = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, n, generator=g, dtype=torch.float64)
    return x, slope * x + noise


def test_it_is_pearsons_r():
    # deviations -2, 0, 2 and -1, 2, -1 with sums of products 0; then 1, 2, 3 against 1, 3, 2
    assert ask([1.0, 3.0, 5.0], [0.0, 3.0, 0.0], [0, 1, 2]).value == pytest.approx(0.0, abs=1e-15)
    assert ask([1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [0, 1, 2]).value == pytest.approx(0.5)
    found = ask([1.0, 2.0, 3.0, 4.0], [-2.0, -4.0, -6.0, -8.0], [0, 1, 2, 3])
    assert found.value == pytest.approx(-1.0)
    assert found.low == pytest.approx(found.high, abs=1e-6)
    assert (found.points, found.groups) == (4, 4)


def test_the_interval_is_the_jackknife_on_fishers_scale_by_hand():
    x, y = noisy(10)
    groups = torch.tensor([5, 5, 5, 2, 2, 2, 2, 9, 9, 9])

    def r(keep):
        a, b = x[keep] - x[keep].mean(), y[keep] - y[keep].mean()
        return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())

    left = [math.atanh(r(groups != g)) for g in (2, 5, 9)]
    mean = sum(left) / 3
    se = math.sqrt(2 / 3 * sum((v - mean) ** 2 for v in left))
    reach = t.ppf(0.975, 2) * se
    centre = math.atanh(r(groups >= 0))
    found = correlation(x, y, groups)
    assert found.value == pytest.approx(math.tanh(centre))
    assert found.low == pytest.approx(math.tanh(centre - reach))
    assert found.high == pytest.approx(math.tanh(centre + reach))
    assert found.groups == 3


def test_more_looks_at_the_same_trainings_do_not_narrow_the_interval():
    x, y = noisy(8)
    once = correlation(x, y, torch.arange(8))
    often = correlation(x.repeat(5), y.repeat(5), torch.arange(8).repeat(5))
    assert (often.points, often.groups) == (40, 8)
    for name in ("value", "low", "high"):
        assert getattr(often, name) == pytest.approx(getattr(once, name), abs=1e-12)
    alone = correlation(x.repeat(5), y.repeat(5), torch.arange(40))  # as if they were independent
    assert alone.high - alone.low < 0.6 * (once.high - once.low)


def test_the_order_of_points_and_of_the_two_does_not_matter():
    x, y = noisy(12)
    groups = torch.arange(12) % 4
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    one = correlation(x, y, groups)
    assert correlation(x[order], y[order], groups[order]).low == pytest.approx(one.low)
    assert correlation(y, x, groups).high == pytest.approx(one.high)


@pytest.mark.parametrize("truth", [0.0, 0.8])
def test_the_interval_holds_the_truth(truth):
    """Eight trainings of six looks; looks at a training share most of what they say."""
    g, replicates, covered, wrong = torch.Generator().manual_seed(3), 300, 0, 0
    groups = torch.arange(8).repeat_interleave(6)
    for _ in range(replicates):
        own = torch.randn(2, 8, 1, generator=g, dtype=torch.float64)
        look = torch.randn(2, 8, 6, generator=g, dtype=torch.float64)
        x, z = (0.8**0.5 * own + 0.2**0.5 * look).reshape(2, -1)  # each of variance 1
        y = truth * x + (1 - truth**2) ** 0.5 * z
        found = correlation(x, y, groups)
        covered += found.low <= truth <= found.high
        naive = 1.96 / (48 - 3) ** 0.5  # every look counted as new evidence
        wrong += abs(math.atanh(found.value) - math.atanh(truth)) <= naive
    assert covered / replicates >= 0.85, covered / replicates
    assert wrong / replicates < 0.75  # what the groups are for


def test_what_does_not_vary_has_no_correlation():
    for x, y in (([1.0] * 4, [1.0, 2.0, 3.0, 4.0]), ([1.0, 2.0, 3.0, 4.0], [0.0] * 4)):
        found = ask(x, y, [0, 1, 2, 3])
        assert (found.value, found.low, found.high) == (None, None, None)


def test_where_leaving_a_group_out_leaves_no_variation_there_is_no_interval():
    found = ask([1.0, 1.0, 1.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 1, 2, 2])
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_two_trainings_give_no_interval_and_two_points_no_correlation():
    x, y = noisy(8)
    pair = correlation(x, y, torch.arange(8) % 2)
    assert pair.value is not None
    assert (pair.low, pair.high) == (None, None)
    few = correlation(x[:2], y[:2], torch.arange(2))
    assert (few.value, few.low, few.points) == (None, None, 2)


@pytest.mark.parametrize(
    ("x", "y", "groups", "match"),
    [
        ([1.0, 2.0], [1.0, 2.0, 3.0], [0, 1, 2], r"points of \(2,\), \(3,\) and \(3,\)"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 1], r"and \(2,\) to correlate"),
        ([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]], [[0, 1, 2]], r"points of \(1, 3\)"),
        ([1.0, 2.0, math.nan], [1.0, 2.0, 3.0], [0, 1, 2], "as many finite numbers"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, math.inf], [0, 1, 2], "leave out what was not measured"),
    ],
)
def test_points_that_do_not_belong_together_are_refused(x, y, groups, match):
    with pytest.raises(BadInput, match=match):
        ask(x, y, groups)
