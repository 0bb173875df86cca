"""Datamodels around another prediction: how large it really is, and when it is of no use."""

import math

import pytest
import torch

from expunge.attribution.difference import Difference
from expunge.contract.problems import generator

from .linear_worlds import FORGET, N, Told, bold, halved, noisy, told, truth, world

TRAIN = torch.arange(N)
FORGOTTEN = torch.isin(TRAIN, FORGET)


def test_how_large_the_other_prediction_really_is_is_found():
    """Three times the truth: b = 1/3, with relative sd sqrt(V / (S n)); then it is nearly exact."""
    whole, expected = noisy(0)
    means = torch.zeros(N, 400, dtype=torch.float64)
    means[FORGET] = 3 * expected
    plain = Difference(whole).without(FORGET, FORGET).mean
    model = bold(whole, Told({"train": means}))
    found, trusts = model.trusted(FORGET, {"train": FORGET})["train"]
    signal, noise = (float(x.square().mean()) for x in (expected, plain - expected))
    assert abs(3 * trusts["forgotten"].around - 1) < 5 * math.sqrt(noise / (signal * 1200))
    assert trusts["forgotten"].difference < 10 / math.sqrt(1200)  # what is left is noise
    assert (found.mean - expected).square().mean() < 0.1 * noise


def test_a_planted_scale_is_found_exactly_and_by_group():
    change = torch.randn(N, 2, generator=generator(0), dtype=torch.float64)
    scale = torch.where(FORGOTTEN[:, None], 3.0, 0.5)
    model = bold(halved(change, change), Told({"train": scale * change}))
    found, trusts = model.trusted(FORGET, {"train": TRAIN})["train"]
    assert trusts["forgotten"].around == pytest.approx(1 / 3)
    assert trusts["others"].around == pytest.approx(2.0)
    assert (found.mean - change).abs().max() < 1e-9


def test_the_other_prediction_fills_in_where_the_models_are_noise():
    """D_A = L + e, D_B = L - e: nothing of e is left, and L is."""
    change, error = torch.randn(2, N, 2, generator=generator(0), dtype=torch.float64)
    model = bold(halved(change + error, change - error), Told({"train": change}))
    found = model.without(FORGET, TRAIN)
    assert (found.mean - change).abs().max() < 1e-9
    assert (found.sd == 0).all()


@pytest.mark.parametrize("useless", ["opposite", "zero"])
def test_a_prediction_the_wrong_way_round_is_dropped(useless):
    whole, betas = world(40, 20, noise=2.6)
    alone = bold(whole).without(FORGET, TRAIN)
    found = bold(whole, told(betas, -1.0 if useless == "opposite" else 0.0)).without(FORGET, TRAIN)
    assert torch.equal(found.mean, alone.mean)
    assert torch.equal(found.sd, alone.sd)


def test_a_useless_prediction_does_no_harm():
    """It gives one of n directions more trust than it deserves, where the error is then V.

    Relative to the whole error, n V S / (S + V), that is less than chi-square / n times
    (S + V) / S, which is 2 here; 30 / n is passed over once in 10,000 sets.
    """
    for seed in range(10):
        whole, betas = world(40, 400, noise=2.6, seed=seed)
        expected = truth(betas, "train")[FORGET]
        useless = Told({"train": torch.randn(N, 400, generator=generator(seed)).double()})
        alone, found = (
            bold(whole, other).without(FORGET, FORGET).mean for other in (None, useless)
        )
        error, before = ((m - expected).square().sum() for m in (found, alone))
        assert error < (1 + 30 / (3 * 400)) * before


def test_each_models_own_prediction_is_shrunk_to_by_itself():
    """(members, rows, C): the same bits as with that member's prediction alone."""
    whole, betas = world(30, 3, noise=1.0)
    means = torch.randn(4, N, 3, generator=generator(1)).double() + truth(betas, "train")
    means[2] = 0.0
    asked = torch.tensor([5, 0, 2, 9])
    found = bold(whole, Told({"train": means})).without(FORGET, asked)
    assert found.mean.shape == found.sd.shape == (4, 4, 3)
    for k in range(4):
        one = bold(whole, Told({"train": means[k]})).without(FORGET, asked)
        few = bold(whole, Told({"train": means[[k, 1]]})).without(FORGET, asked)
        for own, alone, beside in zip(found, one, few, strict=True):
            assert torch.equal(own[k], alone)
            assert torch.equal(own[k], beside[0])
    assert torch.equal(found.mean[2], bold(whole).without(FORGET, asked).mean)
    assert not torch.allclose(found.mean[0], found.mean[1])
