"""Datamodels around another prediction: where each is followed, and what only the other knows."""

import math

import pytest
import torch

from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import Difference
from expunge.attribution.half_data_models import HalfDataModels
from expunge.contract.problems import generator

from .linear_worlds import FORGET, N, Told, bold, halved, noisy, told, truth, world

TRAIN = torch.arange(N)
FORGOTTEN = torch.isin(TRAIN, FORGET)


def test_the_other_prediction_fills_in_where_the_models_are_noise():
    """D_A = L + e, D_B = L - e: nothing of e is left, and L is."""
    change, error = torch.randn(2, N, 2, generator=generator(0), dtype=torch.float64)
    model = bold(halved(change + error, change - error), Told({"train": change[None]}))
    found = model.without(FORGET, TRAIN)
    assert (found.mean - change).abs().max() < 1e-9
    assert (found.sd == 0).all()


def test_a_prediction_of_nothing_adds_nothing():
    whole, betas = world(40, 20, noise=2.6)
    alone = bold(whole).without(FORGET, TRAIN)
    found = bold(whole, told(betas, 0.0)).without(FORGET, TRAIN)
    assert torch.equal(found.mean[0], alone.mean)
    assert torch.equal(found.sd[0], alone.sd)


@pytest.mark.parametrize("factor", [-1.0, 0.5, 3.0])
def test_a_prediction_that_is_wrong_is_corrected_where_the_models_are_sure(factor):
    """Halves that say the same are trusted wholly, whatever the other prediction says."""
    change = torch.randn(N, 2, generator=generator(0), dtype=torch.float64)
    found = bold(halved(change, change), Told({"train": factor * change[None]}))
    assert (found.without(FORGET, TRAIN).mean[0] - change).abs().max() < 1e-9


def test_among_mixtures_of_both_it_errs_least():
    """A prediction off by S and halves off by V: S V / (S + V), as between zero and halves.

    What is left is chance of the order 1 / sqrt(n), with n = 1,200 outputs: 5 of these.
    """
    for seed in range(5):
        whole, expected = noisy(seed)
        off = torch.randn(1, N, 400, generator=generator(50 + seed), dtype=torch.float64)
        means = torch.zeros(1, N, 400, dtype=torch.float64)
        means[0, FORGET] = expected + 2 * off[0, FORGET]
        plain = Difference(whole).without(FORGET, FORGET).mean
        found = bold(whole, Told({"train": means})).without(FORGET, FORGET).mean[0]
        wrong, noise = (float(x.square().mean()) for x in (2 * off[0, FORGET], plain - expected))
        least, error = wrong * noise / (wrong + noise), float((found - expected).square().mean())
        assert abs(error - least) < 5 * math.sqrt(wrong * noise / 1200) / 2
        assert error < 0.8 * min(wrong, noise)


def test_each_models_own_prediction_is_shrunk_to_by_itself():
    """(members, rows, C): the same bits as with that member's prediction alone."""
    whole, betas = world(30, 3, noise=1.0)
    means = torch.randn(4, N, 3, generator=generator(1)).double() + truth(betas, "train")
    means[2] = 0.0
    asked = torch.tensor([5, 0, 2, 9])
    found = bold(whole, Told({"train": means})).without(FORGET, asked)
    assert found.mean.shape == found.sd.shape == (4, 4, 3)
    for k in range(4):
        one = bold(whole, Told({"train": means[[k]]})).without(FORGET, asked)
        few = bold(whole, Told({"train": means[[k, 1]]})).without(FORGET, asked)
        for own, alone, beside in zip(found, one, few, strict=True):
            assert torch.equal(own[k], alone[0])
            assert torch.equal(own[k], beside[0])
    assert torch.equal(found.mean[2], bold(whole).without(FORGET, asked).mean)
    assert not torch.allclose(found.mean[0], found.mean[1])


# ---- what half-data models cannot see


@pytest.mark.parametrize("common", [0.0, 5.0])
def test_an_exact_prediction_is_kept_where_fewer_rows_matter_most(common):
    """Each row has its own effect and a common one, which D lacks: D - H is noise all the same."""
    whole, betas = world(400, 20, noise=0.5)
    fewer = {s: torch.full((1, *b.shape[1:]), -common).double() for s, b in betas.items()}
    exact = {s: truth(betas, s)[None] + len(FORGET) * fewer[s] for s in betas}
    model = bold(whole, Told(exact, fewer))
    for split, rows in {"train": TRAIN, "test": torch.arange(7)}.items():
        found = model.without(FORGET, rows, split)
        error = (found.mean - exact[split]).square().mean()
        assert error < 0.05 * truth(betas, split).square().mean()


def test_a_shift_of_all_logits_is_no_part_of_what_is_compared():
    """Where outputs are logits, halves are read less their mean; the prediction's own is kept."""
    change = torch.randn(N, 3, generator=generator(0), dtype=torch.float64)
    whole = halved(change, change)
    whole = HalfDataModels(whole.blocks, whole.present, centred=True)
    found = bold(whole, Told({"train": (change + 7.0)[None]})).without(FORGET, TRAIN)
    assert (found.mean[0] - change - 7.0).abs().max() < 1e-9


# ---- how much larger effects are in half-data models


@pytest.mark.parametrize("larger", [1.0, 1.25, 2.0, 8.0, 0.5])
def test_what_half_data_models_exaggerate_is_taken_back(larger):
    """Of forgotten rows as H says, 1 / larger but between 1/2 and 1; of others twofold."""
    change = torch.randn(N, 2, generator=generator(0), dtype=torch.float64)
    d = torch.where(FORGOTTEN[:, None], larger, 2.0) * change
    whole = halved(d, d)
    for wrong in (1.0, 3.0):
        other = Told({"train": wrong * change[None]}, larger=larger)
        found, trusts = bold(whole, other, size=None).trusted(FORGET, {"train": TRAIN})["train"]
        assert trusts["forgotten"].size == pytest.approx(min(1.0, max(0.5, 1 / larger)))
        assert trusts["others"].size == 0.5
        if 1.0 <= larger <= 2.0:  # else r is as near as it may be
            assert (found.mean[0] - change).abs().max() < 1e-9
        assert (found.mean[0] - change)[~FORGOTTEN].abs().max() < 1e-9


def test_what_is_left_is_taken_back_as_well():
    """The other prediction knows nothing of half of the change: D - H is 2 x that, and k is 1."""
    change, unknown = torch.randn(2, N, 2, generator=generator(0), dtype=torch.float64)
    whole = halved(2 * (change + unknown), 2 * (change + unknown))
    other = Told({"train": change[None]}, larger=2.0)
    found = bold(whole, other, size=None).without(FORGET, TRAIN)
    assert (found.mean[0] - change - unknown).abs().max() < 1e-9


def test_alone_they_are_taken_for_larger_than_the_truth():
    change = torch.randn(N, 2, generator=generator(0), dtype=torch.float64)
    whole = halved(change, change)
    for size, forgotten, others in ((None, 0.75, 0.5), (0.8, 0.8, 0.8)):
        found = bold(whole, size=size).without(FORGET, TRAIN)
        factor = torch.where(FORGOTTEN[:, None], forgotten, others)
        assert (found.mean - factor * change).abs().max() < 1e-6  # factors are float32


# ---- what does not depend on what is asked


def test_the_prediction_of_a_row_does_not_depend_on_which_others_are_asked():
    whole, betas = world(40, 3, noise=1.0)
    for other in (None, told(betas, 0.6)):
        model = Datamodels(whole, other)
        every = model.without(FORGET, TRAIN)
        some = model.without(FORGET, torch.tensor([9, 5]))
        for one, few in zip(every, some, strict=True):
            assert torch.equal(one[..., [9, 5], :], few)


def test_what_halves_say_is_measured_once_for_a_forget_set(monkeypatch):
    whole, betas = world(40, 3, noise=1.0)
    passes = []
    real = HalfDataModels.sums
    monkeypatch.setattr(HalfDataModels, "sums", lambda *args: passes.append(1) or real(*args))
    model = Datamodels(whole, told(betas, 0.6))
    first = model.without(FORGET, TRAIN)
    model.without(FORGET.flip(0), TRAIN)
    assert len(passes) == 2
    other = Datamodels(whole, told(betas, 0.6))
    other.remember(model.repeats(FORGET))
    assert torch.equal(other.without(FORGET, TRAIN).mean, first.mean)
    assert len(passes) == 2
    model.without(FORGET[:2], TRAIN)
    assert len(passes) == 4


# ---- what remains unknown


def test_where_nothing_is_trusted_the_error_is_not_told_to_be_none():
    """k is 0, since D could be chance; as much of D as chance allows, and L's error, remain."""
    whole, betas = world(40, 2, noise=200.0)
    plain = Difference(whole).without(FORGET, FORGET)
    found, trusts = Datamodels(whole).trusted(FORGET, {"train": FORGET})["train"]
    trust = trusts["forgotten"]
    assert trust.difference < 0.2
    assert trust.at_most > 0
    assert torch.allclose(found.sd, trust.size * math.sqrt(trust.at_most) * plain.sd)
    means = told(betas, 1.0).means
    model = Datamodels(whole, Told(means, sd=3.0))
    found, trusts = model.trusted(FORGET, {"train": FORGET})["train"]
    trust = trusts["forgotten"]
    own = (1 - trust.difference) * 3.0
    expected = (trust.at_most * (trust.size * plain.sd).square() + own**2).sqrt()
    assert torch.allclose(found.sd[0], expected)
