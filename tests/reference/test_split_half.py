"""What half-data models say of a forget set, and on which rows trust in it is measured."""

from dataclasses import replace

import pytest
import torch

from expunge.attribution import split_half as module
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import Difference
from expunge.attribution.split_half import repeats, weightings

from .linear_worlds import EVERY, FORGET, TESTED, N, told, world

OTHER = torch.tensor([1, 8, 11])


def test_each_rows_difference_is_that_of_the_difference_of_means():
    whole, _ = world(30, 2, noise=1.0)
    found = repeats(whole, FORGET.flip(0), shuffles=2)
    assert torch.equal(found.forget, FORGET)
    expected = Difference(whole).changes(
        FORGET, {"train": torch.arange(N), "test": torch.arange(TESTED)}
    )
    for split, change in expected.items():
        for own, alone in zip(found.differences[split], change, strict=True):
            assert torch.allclose(own, alone, atol=1e-12)


def test_probes_are_the_forgotten_rows_and_others_that_are_present_each_once():
    whole, _ = world(30, 2, noise=1.0)
    present = EVERY.clone()
    present[[0, 7]] = False
    found = repeats(replace(whole, present=present), FORGET, shuffles=0).probes
    others = [1, 3, 4, 8, 9, 10, 11]
    assert found["train"].rows.tolist() == FORGET.tolist() + others
    assert found["train"].own.tolist() == [True] * len(FORGET) + [False] * len(others)
    assert found["test"].rows.tolist() == list(range(TESTED))
    assert not found["test"].own.any()


def test_of_many_others_some_are_probed_at_random_and_all_forgotten_ones(monkeypatch):
    monkeypatch.setattr(module, "PROBED", 4)
    whole, _ = world(30, 2, noise=1.0)
    first, again = (repeats(whole, FORGET, shuffles=0).probes for _ in range(2))
    for split, probe in first.items():
        rows = probe.rows[~probe.own]
        assert torch.equal(probe.rows, again[split].rows)
        assert len(rows.unique()) == 4
        assert torch.equal(rows, rows.sort().values)
        assert not torch.equal(rows, torch.arange(4))
        assert torch.equal(probe.rows[probe.own], FORGET if split == "train" else FORGET[:0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_estimates_are_of_the_probed_rows_in_their_order(split):
    """All models, even ones and odd ones, then the same dealt anew: as weights say, by hand."""
    whole, _ = world(30, 2, noise=1.0)
    probe = repeats(whole, FORGET, shuffles=2).probes[split]
    weights = weightings(whole.memberships(FORGET), 2)
    z = whole.blocks[0][split][:, probe.rows].double()
    said = -torch.einsum("wm,mrc->wrc", weights, z - z.mean(0))
    found = probe.estimates
    assert torch.allclose(found.whole, said[0], atol=1e-10)
    assert torch.allclose(found.halves, said[1:3], atol=1e-10)
    assert torch.allclose(found.chance[0], said[3:6], atol=1e-10)
    assert torch.allclose(found.chance[1], said[6:9], atol=1e-10)
    few = found.of(torch.arange(len(probe.rows)) == 1)
    assert torch.equal(few.chance[:, :, 0], found.chance[:, :, 1])


@pytest.mark.parametrize("around", [False, True])
def test_another_forget_set_is_measured_anew(around):
    """As many rows; and the first once more."""
    whole, betas = world(40, 3, noise=1.0)
    other = told(betas, 0.6) if around else None
    asked, model = torch.tensor([5, 0, 2, 9, 11]), Datamodels(whole, other)
    for forget in (FORGET, OTHER, FORGET):
        expected = Datamodels(whole, other).without(forget, asked)
        found = model.without(forget, asked)
        assert torch.equal(found.mean, expected.mean)
        assert torch.equal(found.sd, expected.sd)
