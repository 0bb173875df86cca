import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from expunge.audit.metrics.calibration import Calibration, Estimate, calibration
from expunge.errors import BadInput

MEMBERS = torch.tensor([-1.0, 0.0, 1.0]).unsqueeze(-1)  # variance 1


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def members(count, expectation, seed, shared=0.5):
    """Models around an expectation; half of their noise is the same for all outputs."""
    own = draw(count, *expectation.shape, seed=seed)
    common = draw(count, *[1] * expectation.ndim, seed=seed + 10**6)
    return expectation + math.sqrt(1 - shared) * own + math.sqrt(shared) * common


def naive(p, before, after):
    """The values, by loops over plain numbers."""
    p, before, after = p.flatten().tolist(), before.flatten(1).numpy(), after.flatten(1).numpy()
    n = len(p)
    t = [after[:, i].mean() - before[:, i].mean() for i in range(n)]

    def variance(groups):
        return sum(g[:, i].var(ddof=1) / len(g) for g in groups for i in range(n)) / n

    error = sum((p[i] - t[i]) ** 2 for i in range(n)) / n
    truth = sum(x**2 for x in t) / n
    noise = variance([before, after])
    aside = variance([g - g.mean(1, keepdims=True) for g in (before, after)])
    squares = [1 - aside / np.var(t), error, error - noise, truth, truth - noise, noise]
    slope = sum(p[i] * t[i] for i in range(n)) / sum(x**2 for x in p)
    return np.array([slope, np.corrcoef(p, t)[0, 1], *squares])


def numbers(found):
    return [getattr(found, f.name) for f in fields(Calibration) if f.name != "outputs"]


def test_by_hand():
    before, true = torch.tensor([5.0, 6.0, 7.0]), torch.tensor([2.0, 1.0, -2.0])
    found = calibration(
        torch.tensor([1.0, 2.0, -1.0]), before + MEMBERS, before + true + MEMBERS.flip(0)
    )
    assert found.slope is not None
    assert found.slope.value == pytest.approx(1)  # (2 + 2 + 2) / (1 + 4 + 1)
    assert found.correlation is not None
    assert found.correlation.value == pytest.approx(np.corrcoef([1, 2, -1], [2, 1, -2])[0, 1])
    assert found.error.value == pytest.approx(1)
    assert found.truth.value == pytest.approx(math.sqrt(3))
    assert found.noise.value == pytest.approx(math.sqrt(1 / 3 + 1 / 3))
    assert found.error_corrected.value == pytest.approx(math.sqrt(1 - 2 / 3))
    assert found.truth_corrected.value == pytest.approx(math.sqrt(3 - 2 / 3))
    # all noise is shared by the outputs: it cannot spoil a correlation over them
    assert found.ceiling == Estimate(1, 1, 1)
    assert found.outputs == 3


@pytest.mark.parametrize("shape", [(9,), (4, 3)])
def test_matches_a_loop_with_its_intervals(shape):
    t = draw(*shape, seed=1)
    p, before, after = t + draw(*shape, seed=2), members(13, 0 * t, 3), members(11, t, 4)
    values, variance = naive(p, before, after), np.zeros(8)
    for side, group in ((0, before), (1, after)):
        without = []
        for block in np.array_split(np.arange(len(group)), 10):
            kept = [before, after]
            kept[side] = group[[i for i in range(len(group)) if i not in block]]
            without.append(naive(p, *kept))
        without = np.array(without)
        variance += 9 / 10 * ((without - without.mean(0)) ** 2).sum(0)
    ends = [values, values - 2 * np.sqrt(variance), values + 2 * np.sqrt(variance)]
    wanted = np.stack([np.concatenate([x[:2], np.sqrt(np.maximum(x[2:], 0))]) for x in ends])
    wanted[2, 1:3] = np.minimum(wanted[2, 1:3], 1)
    found = numbers(calibration(p, before, after, centred=False))
    np.testing.assert_allclose([[x.value, x.low, x.high] for x in found], wanted.T)


def test_predictions_twice_too_large_have_half_the_slope():
    t = draw(40, seed=1)
    p, before, after = t + draw(40, seed=2), members(12, 0 * t, 3), members(12, t, 4)
    once, twice = calibration(p, before, after), calibration(2 * p, before, after)
    assert once.slope is not None
    assert twice.slope is not None
    assert twice.slope.value == pytest.approx(once.slope.value / 2)
    assert twice.slope.low == pytest.approx(once.slope.low / 2)
    assert twice.correlation is not None
    assert once.correlation is not None
    assert twice.correlation.value == pytest.approx(once.correlation.value)
    assert (twice.truth, twice.noise, twice.ceiling) == (once.truth, once.noise, once.ceiling)


def test_the_change_is_from_originals_to_oracles():
    t = draw(40, seed=1).abs()
    before, after = members(12, 0 * t, 3), members(10, t, 4)
    there, back = calibration(t, before, after), calibration(t, after, before)
    assert there.slope is not None
    assert back.slope is not None
    assert there.slope.value > 0.5
    assert back.slope.value == pytest.approx(-there.slope.value)
    assert there.error.value < back.error.value
    assert (there.noise.value, there.truth.value) == (
        pytest.approx(back.noise.value),
        pytest.approx(back.truth.value),
    )


def test_logits_are_centred_over_classes():
    t = draw(8, 5, seed=1)
    p, before, after = t + draw(8, 5, seed=2), members(12, 0 * t, 3), members(12, t, 4)
    found = calibration(p, before, after)
    moved = [x + 7 * draw(*x.shape[:-1], 1, seed=i) for i, x in enumerate((p, before, after))]
    by_hand = [x - x.mean(-1, keepdim=True) for x in (p, before, after)]
    for other in (calibration(*moved), calibration(*by_hand, centred=False)):
        for a, b in zip(numbers(found), numbers(other), strict=True):
            assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert calibration(*moved, centred=False).truth.value > 2 * found.truth.value
    # one number a row has nothing to be centred over
    column = [x[..., :1] for x in (p, before, after)]
    flat = calibration(*(x.squeeze(-1) for x in column))
    assert calibration(*column) == flat == calibration(*column, centred=False)


def test_a_perfect_prediction_scores_the_noise_and_the_ceiling():
    errors, noises, correlations, ceilings = [], [], [], []
    for i in range(60):
        t = 0.5 * draw(80, seed=4 * i)
        found = calibration(t, members(8, 0 * t, 4 * i + 1), members(5, t, 4 * i + 2))
        assert found.error_corrected.low == 0
        assert found.correlation is not None
        assert found.ceiling is not None
        errors.append(found.error.value**2)
        noises.append(found.noise.value**2)
        correlations.append(found.correlation.value**2)
        ceilings.append(found.ceiling.value**2)
    assert np.mean(noises) == pytest.approx(1 / 8 + 1 / 5, rel=0.2)  # five times its sd
    for measured, expected in ((errors, noises), (correlations, ceilings)):
        difference = np.subtract(measured, expected)
        assert abs(difference.mean()) < 5 * difference.std() / math.sqrt(60)
    # shared noise leaves the spread alone, so that the ceiling is that of half of the noise
    assert np.mean(ceilings) == pytest.approx(0.25 / (0.25 + 0.5 * 0.325), abs=0.05)


def test_corrections_never_go_below_zero():
    before, after = members(4, torch.zeros(6), 1), members(4, torch.zeros(6), 2)
    found = calibration(after.mean(0) - before.mean(0), before, after)
    assert found.error.value == pytest.approx(0, abs=1e-12)
    assert (found.error_corrected.value, found.error_corrected.low) == (0, 0)
    assert found.truth_corrected.value >= 0
    assert found.ceiling is not None
    assert 0 <= found.ceiling.low <= found.ceiling.value <= found.ceiling.high <= 1


def test_intervals_cover_the_expectation():
    # two errors of 10 and 10 blocks hold it about 94 times in 100: of 200 intervals 188, binomial
    # sd 3.4; those of squares err to the careful side
    t = draw(50, seed=1)
    p = 0.7 * t + 0.5 * draw(50, seed=2)
    slope, error = float(p @ t / (p @ p)), float((p - t).square().mean().sqrt())
    held, squares = np.zeros(2), []
    for i in range(200):
        found = calibration(p, members(20, 0 * t, 2 * i), members(20, t, 2 * i + 1))
        assert found.slope is not None
        one = found.error_corrected
        held += [found.slope.low <= slope <= found.slope.high, one.low <= error <= one.high]
        squares.append(one.value**2)
    assert held.min() >= 188 - 17, held
    # unbiased; without the correction it would be 0.1 too large, some 15 errors of this mean
    assert abs(np.mean(squares) - error**2) < 5 * np.std(squares) / math.sqrt(200)


def test_no_correlation_exceeds_one():
    t = draw(3, seed=1)
    found = calibration(t, members(3, 0 * t, 7, shared=0.0), members(3, t, 3, shared=0.0))
    assert found.correlation is not None
    assert found.correlation.high == 1
    turned = calibration(-t, members(3, 0 * t, 7, shared=0.0), members(3, t, 3, shared=0.0))
    assert turned.correlation is not None
    assert turned.correlation.low == -1


def test_what_has_no_slope_or_no_correlation_says_so():
    t = draw(6, seed=1)
    before, after = members(5, 0 * t, 2), members(5, t, 3)
    nothing = calibration(torch.zeros(6), before, after)
    assert nothing.slope is nothing.correlation is nothing.ceiling is None
    assert nothing.error == nothing.truth
    same = calibration(torch.full((6,), 0.1), before, after)
    assert same.slope is not None
    assert same.correlation is None
    still = calibration(t, before[:, :1].expand(5, 6), before[:, :1].expand(5, 6))
    assert still.slope is not None
    assert still.slope.value == 0
    assert still.correlation is still.ceiling is None
    # a constant added to all logits is no prediction, although their mean is rounded
    level = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64).unsqueeze(-1).expand(3, 3)
    logits = draw(5, 3, 3, seed=4)
    assert calibration(level, logits, logits + draw(3, 3, seed=5)).slope is None


def test_nothing_passed_in_is_changed():
    t = draw(6, 4, seed=1).float()
    given = t, members(5, 0 * t, 2).float(), members(4, t, 3).float()
    kept = [x.clone() for x in given]
    assert calibration(*given) == calibration(*(x.double() for x in given))
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


def test_what_cannot_be_compared_is_refused():
    p, group = torch.zeros(4, 3), torch.zeros(5, 4, 3)
    with pytest.raises(BadInput, match=r"shapes \(4, 3\), \(5, 4, 3\), \(5, 4\)"):
        calibration(p, group, group[..., 0])
    with pytest.raises(BadInput, match="with the models in front"):
        calibration(p, p, group)
    with pytest.raises(BadInput, match="with the models in front"):
        calibration(group, group.unsqueeze(0), group.unsqueeze(0))
    with pytest.raises(BadInput, match=r"1 output\(s\) to compare"):
        calibration(p[:1, 0], group[:, :1, 0], group[:, :1, 0])
    with pytest.raises(BadInput, match=r"0 output\(s\)"):
        calibration(p[:0], group[:, :0], group[:, :0])
    with pytest.raises(BadInput, match="2 originals and 5 oracles. Expected: at least 3 of each"):
        calibration(p, group[:2], group)
    for bad in (math.nan, -math.inf):
        spoilt = group.clone()
        spoilt[2:4, 1, 2] = bad
        with pytest.raises(BadInput, match="1 predicted numbers are NaN or infinite, first in row"):
            calibration(spoilt[2], group, group)
        with pytest.raises(
            BadInput, match="2 original numbers are NaN or infinite, first in row 1"
        ):
            calibration(p, spoilt, group)
        with pytest.raises(BadInput, match="2 oracle numbers"):
            calibration(p, group, spoilt)
