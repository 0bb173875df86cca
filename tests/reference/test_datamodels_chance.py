"""Datamodels and chance: noise with few directions looks like a signal, and is not trusted."""

import pytest
import torch

from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import difference
from expunge.attribution.half_data_models import ROWS, HalfDataModels
from expunge.attribution.split_half import weightings
from expunge.contract.problems import generator

from .linear_worlds import FORGET, N, bold, halves, noisy, told, world

TRAIN = torch.arange(N)
EVERY = torch.ones(N, dtype=torch.bool)


def rank_one(seed: int, models: int = 200) -> HalfDataModels:
    """Models that differ in one number alone, which all rows answer to; no row has an effect."""
    mood = torch.randn(models, 1, 1, generator=generator(seed))
    answer = torch.randn(1, N, 4, generator=generator(1000 + seed))
    return HalfDataModels([{ROWS: halves(models, seed), "train": mood * answer}], EVERY)


def trusts(whole: HalfDataModels, made=Datamodels) -> list[float]:
    _, found = made(whole).trusted(FORGET, {"train": TRAIN})["train"]
    return [trust.difference for trust in found.values()]


def test_noise_of_one_direction_is_hardly_trusted():
    """Two halves agree in sign half of the time; then, without caution, k is 0.66 on average.

    With x and y normal, k = xy / ((x + y) / 2)^2 where xy > 0. Taking off the root mean square of
    xy leaves 0 unless xy > 1 (in units of its own sd), which has probability 0.10.
    """
    cautious, trusting = (
        torch.tensor([trusts(rank_one(seed), made)[1] for seed in range(150)])
        for made in (Datamodels, bold)
    )
    assert 0.25 < trusting.mean() < 0.42
    assert cautious.mean() < 0.3 * trusting.mean()
    assert (cautious > 0).double().mean() < 0.10 + 5 * (0.1 * 0.9 / 150) ** 0.5


def test_a_clear_signal_is_trusted_as_before():
    whole, _ = noisy(0, noise=1.0)
    (careful, _), (trusting, _) = trusts(whole), trusts(whole, bold)
    assert careful == pytest.approx(trusting, abs=0.02)
    assert careful > 0.9


def test_another_source_is_left_alone_where_halves_are_noise():
    """It is right; what noise adds to it, squared, over ten worlds."""
    added = torch.zeros(2, dtype=torch.float64)
    for seed in range(10):
        whole, betas = world(60, 2, noise=200.0, seed=seed)
        other = told(betas, 1.0)
        for k, made in enumerate((Datamodels(whole, other), bold(whole, other, size=None))):
            found = made.without(FORGET, TRAIN).mean
            added[k] += (found - other.means["train"]).square().sum()
    assert added[0] < 0.3 * added[1]


def test_chance_deals_the_same_parts_to_other_models():
    whole, _ = world(31, 2, noise=1.0)
    inside = whole.memberships(FORGET)
    first, *rest = weightings(inside, 5).split(3)
    assert len(rest) == 5
    assert torch.equal(first[0], difference(inside))
    for dealt in rest:
        for part in range(3):
            assert torch.equal(dealt[part].sort().values, first[part].sort().values)
        assert not dealt[1, 1::2].any()  # a half's parts stay in that half
        assert not dealt[2, 0::2].any()
    assert len({tuple(dealt[0].tolist()) for dealt in rest}) == 5
