import math

import pytest
import torch

from expunge.audit.metrics.stopping import likelihood, oracle_band, overshoots
from expunge.errors import BadInput


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_normal_density_of_each_row():
    oracle = 3.0 * draw(20, 4) + torch.tensor([0.0, 1.0, -5.0, 50.0])
    margins = 5.0 * draw(6, 3, 4, seed=1)
    wanted = torch.distributions.Normal(oracle.mean(0), oracle.std(0)).log_prob(margins)
    torch.testing.assert_close(likelihood(margins, oracle), wanted)


def test_it_integrates_to_one_and_scales_with_the_unit():
    oracle = 2.0 * draw(12, 1) + 1
    # midpoints of 4000 intervals over +-40: the error of the sum is far below 1e-6
    grid = torch.linspace(-39.99, 39.99, 4000, dtype=torch.float64)
    assert likelihood(grid[:, None, None], oracle).exp().sum() * 0.02 == pytest.approx(1, abs=1e-6)
    shift = likelihood(10 * grid[:, None, None], 10 * oracle) - likelihood(
        grid[:, None, None], oracle
    )
    torch.testing.assert_close(shift, torch.full_like(shift, -math.log(10)))


def test_it_is_highest_at_the_oracles_and_falls_by_half_a_nat_at_one_sd():
    oracle = draw(30, 5)
    centre, sd = oracle.mean(0), oracle.std(0)
    levels = likelihood(torch.stack([centre, centre + sd, centre - 2 * sd])[:, None], oracle)[:, 0]
    torch.testing.assert_close(levels[0] - levels[1], torch.full((5,), 0.5).double())
    torch.testing.assert_close(levels[0] - levels[2], torch.full((5,), 2.0).double())


def test_oracles_that_agree_have_an_sd_of_float32_rounding():
    oracle = torch.full((10, 3), 8.0, dtype=torch.float64)
    oracle[:, 1] = 0.0  # no scale at all: an sd of 1
    oracle[:, 2] += 1e-9 * draw(10)
    at, beside = likelihood(torch.tensor([[[8.0, 0.0, 8.0]], [[8.000016, 1.0, 8.000016]]]), oracle)
    peak = -0.5 * math.log(2 * math.pi) - math.log(8e-6)
    torch.testing.assert_close(at[0, 0].item(), peak)
    torch.testing.assert_close(at[0, 2].item(), peak, atol=1e-3, rtol=0)
    assert at[0, 1].item() - beside[0, 1].item() == pytest.approx(0.5)
    # 8.000016 in float32 is two of these sd away, give or take a rounding of 5e-7 / 8e-6 sd
    assert peak - beside[0, 0].item() == pytest.approx(2.0, abs=0.15)


def test_overshooting_is_past_two_sd_on_the_far_side_at_some_step():
    oracle = draw(40, 6)
    centre, sd = oracle.mean(0), oracle.std(0)
    side = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])  # of the original
    original = centre + 6 * side * sd
    path = torch.tensor(
        [
            [5.0, 5.0, 5.0, 5.0, 5.0, 5.0],
            [0.0, -1.9, -2.1, 0.0, -1.9, -2.1],  # past the mean, on the far side
            [0.0, 0.0, 1.0, 2.1, 0.0, 1.0],
        ]
    )
    margins = centre + path * side * sd
    found = overshoots(margins, original, oracle)
    assert found.dtype == torch.bool
    assert found.tolist() == [False, False, True, False, False, True]
    assert overshoots(margins[[2]], original, oracle).tolist() == [False] * 6


def test_an_original_at_the_mean_has_no_far_side():
    oracle = draw(10, 2)
    far = oracle.mean(0) + 9 * oracle.std(0)
    assert overshoots(far[None], oracle.mean(0), oracle).tolist() == [False, False]


def test_fresh_oracles_overshoot_as_often_as_stated():
    oracle, fresh = draw(400, 4000), draw(1, 4000, seed=1)
    share = overshoots(fresh, torch.full((4000,), 9.0), oracle).double().mean().item()
    # one of 44: 0.0228, by chance +-5 sqrt(0.0228 / 4000) = 0.012
    assert share == pytest.approx(0.0228, abs=0.012)


def test_the_band_is_what_normal_oracles_score():
    low, high = oracle_band(2.0 * draw(200, 300) + 5)
    # -z^2/2 - log sd - log(2 pi)/2 at |z| = 1.960 (5 % beyond) and 0.0627 (5 % within)
    base = -math.log(2) - 0.5 * math.log(2 * math.pi)
    assert low == pytest.approx(base - 1.960**2 / 2, abs=0.05)
    assert high == pytest.approx(base - 0.0627**2 / 2, abs=0.15)  # the rows' sd vary by 5 %


def test_each_oracle_is_scored_by_the_others():
    oracle = draw(10, 50, seed=3)
    others = [torch.cat([oracle[:i], oracle[i + 1 :]]) for i in range(10)]
    fits = [torch.distributions.Normal(rest.mean(0), rest.std(0)) for rest in others]
    scores = torch.stack(
        [fit.log_prob(left_out) for fit, left_out in zip(fits, oracle, strict=True)]
    )
    low, high = oracle_band(oracle)
    below = (scores < low).double().mean().item()
    above = (scores > high).double().mean().item()
    assert (below, above) == (pytest.approx(0.05, abs=0.002), pytest.approx(0.05, abs=0.002))
    own = likelihood(oracle[:, None], oracle).flatten().quantile(0.05).item()
    assert low < own  # within their own fit oracles look more likely than a stranger can be


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: likelihood(draw(2, 3, 4), draw(9, 4)), r"\(9, 4\).*at least 10 oracles"),
        (lambda: likelihood(draw(3, 4), draw(10, 4)), r"\(steps, members, rows\), on the same"),
        (lambda: likelihood(draw(2, 3, 5), draw(10, 4)), r"\(2, 3, 5\) with oracles of \(10, 4\)"),
        (lambda: likelihood(draw(0, 3, 4), draw(10, 4)), r"\(0, 3, 4\)"),
        (lambda: likelihood(draw(2, 3, 4) / 0, draw(10, 4)), "unlearned margins are NaN"),
        (lambda: overshoots(draw(2, 4), draw(1, 4), draw(10, 4)), r"\(rows,\), on the same rows"),
        (lambda: overshoots(draw(4), draw(4), draw(10, 4)), r"\(steps, rows\), on the same rows"),
        (lambda: oracle_band(draw(10, 0)), "at least 10 oracles and one row"),
        (lambda: oracle_band(draw(10, 2) / 0), "oracle margins are NaN"),
    ],
)
def test_bad_margins_are_refused(call, message):
    with pytest.raises(BadInput, match=message):
        call()
