import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from expunge.audit.metrics.lds import BLOCKS, lds, rank_correlation
from expunge.errors import BadInput


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def related(subsets, outputs, seed, rho=0.6):
    """Predictions and truths of correlation rho, whose outputs move together."""
    both = draw(2, subsets, outputs, seed=seed) + draw(2, subsets, 1, seed=seed + 10**6)
    return both[0], rho * both[0] + math.sqrt(1 - rho**2) * both[1]


def naive(predicted, true):
    found = [
        spearmanr(predicted[:, k], true[:, k]).statistic
        for k in range(true.shape[1])
        if len(set(true[:, k].tolist())) > 1
    ]
    return float(np.mean(found))


def test_by_hand():
    # squared differences of ranks 1, 1, 0, ..., 0 and 81, 49, ..., 81: 1 - 6 sum / 990
    order = torch.arange(10.0)
    swapped = order[[1, 0, *range(2, 10)]]
    predicted = torch.stack([order, order], dim=1)
    true = torch.stack([swapped, order.flip(0)], dim=1)
    assert rank_correlation(predicted, true).tolist() == pytest.approx([1 - 12 / 990, -1])
    found = lds(predicted, true)
    assert found.value == pytest.approx(-6 / 990)
    assert (found.subsets, found.outputs, found.constant) == (10, 2, 0)


def test_matches_a_loop_also_with_ties():
    predicted, true = related(23, 7, seed=1)
    np.testing.assert_allclose(lds(predicted, true).value, naive(predicted, true))
    coarse = (2 * predicted).round(), (2 * true).round()
    assert len(coarse[0][:, 0].unique()) < 15
    np.testing.assert_allclose(lds(*coarse).value, naive(*coarse))


@pytest.mark.parametrize("subsets", [12, 45])
def test_the_error_leaves_out_blocks_of_subsets(subsets):
    predicted, true = related(subsets, 5, seed=2)
    blocks = np.array_split(np.arange(subsets), min(BLOCKS, subsets))
    without = []
    for block in blocks:
        kept = [i for i in range(subsets) if i not in block]
        without.append(naive(predicted[kept], true[kept]))
    spread = ((np.array(without) - np.mean(without)) ** 2).sum()
    found = lds(predicted, true)
    assert found.se == pytest.approx(math.sqrt((len(blocks) - 1) / len(blocks) * spread))
    assert found.low == max(found.value - 2 * found.se, -1)
    assert found.high == min(found.value + 2 * found.se, 1)


def test_blind_to_units_and_order_but_not_to_the_sign():
    predicted, true = related(30, 6, seed=3)
    found = lds(predicted, true)
    bent = lds((3 * predicted).exp() + 5, true.pow(3) - 2)
    assert bent == found
    assert lds(true, predicted).value == pytest.approx(found.value)
    assert lds(-predicted, true).value == pytest.approx(-found.value)
    assert lds(predicted.flip(0), true.flip(0)).value == pytest.approx(found.value)
    assert lds(predicted.flip(0), true).value < 0.5 * found.value
    assert lds(true, true).value == pytest.approx(1)


def test_a_truth_that_never_varies_is_left_out_and_counted():
    predicted, true = related(20, 6, seed=4)
    spoilt = true.clone()
    spoilt[:, [1, 4]] = 0.1
    kept = [0, 2, 3, 5]
    found, wanted = lds(predicted, spoilt), lds(predicted[:, kept], true[:, kept])
    assert (found.outputs, found.constant) == (4, 2)
    assert (found.value, found.se, found.chance) == (wanted.value, wanted.se, wanted.chance)


def test_a_prediction_that_never_varies_counts_as_nothing():
    predicted, true = related(20, 4, seed=5)
    whole = lds(predicted[:, :2], true[:, :2]).value
    predicted[:, 2:] = 0.1
    found = lds(predicted, true)
    assert found.constant == 0
    assert found.value == pytest.approx(whole / 2)
    nothing = lds(torch.zeros(20, 4), true)
    assert (nothing.value, nothing.se, nothing.chance) == (0, 0, 0)


def test_an_output_may_become_constant_without_a_block():
    predicted, true = related(20, 2, seed=6)
    true[:, 1] = (torch.arange(20) == 7).double()
    without = [
        naive(*(x[[i for i in range(20) if i != k]] for x in (predicted, true))) for k in range(20)
    ]
    spread = ((np.array(without) - np.mean(without)) ** 2).sum()
    assert lds(predicted, true).se == pytest.approx(math.sqrt(19 / 20 * spread))
    assert math.isfinite(lds(predicted[:, 1:], true[:, 1:]).se)  # none is left in one of them


def test_chance_is_the_spread_over_all_pairings():
    assert lds(draw(10, 1, seed=7), draw(10, 1, seed=8)).chance == pytest.approx(1 / 3)
    once = draw(15, 1, seed=9), draw(15, 1, seed=10)
    assert lds(*(x.expand(15, 8) for x in once)).chance == pytest.approx(1 / math.sqrt(14))
    # 2,000 random pairings: the sd of an sd is 1.6 %
    predicted, true = related(12, 5, seed=11)
    p, t = (rankdata(x.numpy(), axis=0) for x in (predicted, true))
    p, t = ((x - 6.5) / np.linalg.norm(x - 6.5, axis=0) for x in (p, t))
    dealt = np.random.default_rng(0)
    scores = [(p[dealt.permutation(12)] * t).sum(0).mean() for _ in range(2000)]
    assert lds(predicted, true).chance == pytest.approx(np.std(scores), rel=0.08)


def test_unrelated_predictions_score_what_chance_says():
    # 300 standard scores: their mean has an sd of 0.058 and their sd one of 0.041; five of each
    scores = []
    for i in range(300):
        found = lds(related(15, 6, seed=2 * i)[0], related(15, 6, seed=2 * i + 1)[1])
        scores.append(found.value / found.chance)
    assert abs(np.mean(scores)) < 0.29
    assert abs(np.std(scores) - 1) < 0.21


def test_the_interval_covers_the_score_over_all_subsets():
    # over samples of n, the mean rank correlation of normals is ((n - 2) s + 3 k) / (n + 1), with
    # s = 6 / pi asin(rho / 2) and k = 2 / pi asin(rho); two errors of 20 blocks hold it 94 times in
    # 100: of 200 intervals 188, binomial sd 3.4
    n, rho = 60, 0.6
    s, k = 6 / math.pi * math.asin(rho / 2), 2 / math.pi * math.asin(rho)
    mean = ((n - 2) * s + 3 * k) / (n + 1)
    found = [lds(*related(n, 4, seed=3 * i, rho=rho)) for i in range(200)]
    assert 188 - 17 <= sum(one.low <= mean <= one.high for one in found) <= 200
    values = [one.value for one in found]
    assert abs(np.mean(values) - mean) < 5 * np.std(values) / math.sqrt(200)


def test_the_interval_ends_where_correlations_do():
    order = torch.arange(10.0).unsqueeze(-1)
    nearly = order[[9, *range(1, 9), 0]]
    found, turned = lds(order, -order + 3 * nearly), lds(order, order - 3 * nearly)
    assert found.value + 2 * found.se > 1
    assert (found.high, turned.low) == (1, -1)


def test_nothing_passed_in_is_changed():
    predicted, true = (x.float() for x in related(12, 3, seed=12))
    kept = predicted.clone(), true.clone()
    assert lds(predicted, true) == lds(predicted.double(), true.double())
    assert torch.equal(predicted, kept[0])
    assert torch.equal(true, kept[1])


def test_what_cannot_be_scored_is_refused():
    predicted, true = related(10, 3, seed=13)
    with pytest.raises(BadInput, match=r"of shapes \(10, 3\) and \(10, 2\)"):
        lds(predicted, true[:, :2])
    with pytest.raises(BadInput, match="put rows and classes into one axis"):
        lds(predicted.unsqueeze(-1), true.unsqueeze(-1))
    with pytest.raises(BadInput, match="at least one output"):
        lds(predicted[:, :0], true[:, :0])
    with pytest.raises(BadInput, match="9 held-out subsets. Expected: at least 10"):
        lds(predicted[:9], true[:9])
    with pytest.raises(BadInput, match="truth of all 3 outputs is the same"):
        lds(predicted, torch.ones(10, 3))
    for bad in (math.nan, math.inf):
        spoilt = true.clone()
        spoilt[4:6, 1] = bad
        with pytest.raises(BadInput, match="2 true outputs are NaN or infinite, first in subset 4"):
            lds(predicted, spoilt)
        with pytest.raises(BadInput, match="2 predicted outputs"):
            lds(spoilt, true)
