"""Halves: sums over models read block by block, against loops over single models."""

import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from expunge.attribution import half_data_models as halves
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import Difference
from expunge.attribution.half_data_models import ROWS, HalfDataModels
from expunge.attribution.ridge import Ridge
from expunge.contract.problems import generator
from expunge.errors import BadInput

from .linear_worlds import EVERY, FORGET, TESTED, N, cut, onehot, world

KINDS = (Difference, Ridge, Datamodels)
ASKED = {"train": torch.tensor([6, 0, 5, 11]), "test": torch.tensor([4, 2])}


def same(a, b, error: float = 1e-10) -> bool:
    return all(
        (x - y).abs().max() < error for split in a for x, y in zip(a[split], b[split], strict=True)
    )


# ---- sums


@pytest.mark.parametrize("centred", [False, True])
def test_weighted_sums_and_variances_are_those_of_a_loop_over_models(centred):
    """Weights that do not sum to zero, and asked rows in any order."""
    whole, _ = world(9, 3, noise=1.0)
    whole = replace(whole, centred=centred)
    weights = torch.randn(2, 9, generator=generator(0), dtype=torch.float64)
    found = whole.sums(weights, ASKED)
    for split, rows in ASKED.items():
        for k, row in enumerate(rows.tolist()):
            z = [whole.blocks[0][split][m, row].double() for m in range(9)]
            z = [one - one.mean() if centred else one for one in z]
            mean = sum(z) / 9
            for w in range(2):
                by_hand = sum(weights[w, m] * (z[m] - mean) for m in range(9))
                assert torch.allclose(found[split].weighted[w, k], by_hand, atol=1e-10)
            spread = sum((one - mean).square() for one in z) / 8
            assert torch.allclose(found[split].variance[k], spread, atol=1e-10)


def test_memberships_say_which_model_was_trained_on_which_row():
    whole, _ = world(9, 1, noise=1.0)
    assert torch.equal(whole.memberships(torch.tensor([5, 0, 9])), onehot(whole.rows)[:, [5, 0, 9]])


def test_some_outputs_of_every_model_are_found_by_their_flat_places():
    whole, _ = world(9, 3, noise=1.0)
    chosen = {"train": torch.tensor([35, 0, 7]), "test": torch.tensor([20, 4])}
    block = whole.blocks[0]
    expected = [block["test"].flatten(1)[:, [20, 4]], block["train"].flatten(1)[:, [35, 0, 7]]]
    assert torch.equal(whole.sampled(chosen), torch.cat(expected, 1).double())  # by name of split
    assert whole.splits == {"test": (TESTED, 3), "train": (N, 3)}


def test_a_constant_output_has_no_variance_and_no_effect():
    """Large numbers: squares of 1e4 cancel to rounding, never below zero."""
    whole, _ = world(9, 2, noise=1.0)
    block = {ROWS: whole.rows, "test": torch.full((9, 3, 2), 1e4)}
    found = HalfDataModels([block], EVERY).sums(
        torch.ones(1, 9).double(), {"test": torch.arange(3)}
    )
    assert (found["test"].variance >= 0).all()
    assert found["test"].variance.max() < 1e-6
    assert found["test"].weighted.abs().max() < 1e-6


# ---- blocks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(16, 14), (10, 10, 10), (1, 28, 1)])
def test_several_blocks_give_the_same_as_one(kind, sizes):
    whole, _ = world(30, 2, noise=1.0)
    parts = HalfDataModels(cut(whole, *sizes), EVERY)
    assert torch.equal(parts.rows, whole.rows)
    assert same(kind(parts).changes(FORGET, ASKED), kind(whole).changes(FORGET, ASKED))


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_pieces_changes_nothing(kind, monkeypatch):
    whole, _ = world(30, 2, noise=1.0)
    expected = kind(whole).changes(FORGET, ASKED)
    monkeypatch.setattr(halves, "CHUNK", 30 * 2 * 3)  # three rows at a time
    monkeypatch.setattr("expunge.attribution.ridge.COLUMNS", 5)
    assert same(kind(whole).changes(FORGET, ASKED), expected)


class Shelf(Sequence):
    """Blocks made anew at each look, as from a disk; counts looks and what is still held."""

    def __init__(self, blocks):
        self.blocks, self.looks, self.held, self.most = blocks, 0, weakref.WeakSet(), 0

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, place):
        if place >= len(self):
            raise IndexError(place)
        self.looks += 1
        self.most = max(self.most, len(self.held))
        read = {name: tensor.clone() for name, tensor in self.blocks[place].items()}
        self.held.add(read["test"])
        return read


@pytest.mark.parametrize(
    ("kind", "passes"), [(Difference, (1, 1)), (Datamodels, (2, 0)), (Ridge, (2, 1))]
)
def test_blocks_are_read_one_at_a_time_and_never_kept(kind, passes):
    """All splits in one pass; ridge needs a second, for its strength, and keeps no block of it.

    Datamodels need a second for how far they trust, and none for the same forget set again.
    While a block is read the last one may still be there, but none before it.
    """
    whole, _ = world(40, 2, noise=1.0)
    shelf = Shelf(cut(whole, 10, 10, 10, 10))
    lazy = HalfDataModels(shelf, EVERY)
    assert len(lazy.rows) == 40
    assert lazy.splits
    shelf.looks = 0
    model = kind(lazy)
    found = model.changes(FORGET, ASKED)
    assert shelf.looks == passes[0] * 4
    model.changes(FORGET.flip(0), ASKED)
    assert shelf.looks == sum(passes) * 4
    assert shelf.most <= 1
    assert not shelf.held
    assert same(found, kind(whole).changes(FORGET, ASKED))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(30,), (16, 14), (10, 10, 10)])
@pytest.mark.parametrize("count", [14, 16, 20, 21, 30])
def test_the_first_models_are_as_if_there_were_no_others(kind, sizes, count):
    whole, _ = world(30, 2, noise=1.0, seed=2)
    alone = HalfDataModels(cut(whole, count, 30 - count)[:1], EVERY)
    first = HalfDataModels(cut(whole, *sizes), EVERY).first(count)
    assert len(first) == count
    assert same(kind(first).changes(FORGET, ASKED), kind(alone).changes(FORGET, ASKED))


def test_of_the_first_models_no_further_block_is_read():
    whole, _ = world(40, 2, noise=1.0)
    shelf = Shelf(cut(whole, 10, 10, 10, 10))
    few = HalfDataModels(shelf, EVERY, centred=True).first(20)
    assert few.centred
    shelf.looks = 0
    Difference(few).changes(FORGET, ASKED)
    assert shelf.looks == 2 + 2 + 1  # rows, outputs, and what splits there are
    assert whole.first(0) is whole


@pytest.mark.parametrize("count", [-1, 41])
def test_more_models_than_there_are_are_refused(count):
    told = f"from {count} half-data models, where there are 40. Expected: from 1 to 40, or 0 for"
    with pytest.raises(BadInput, match=told):
        world(40, 2, noise=1.0)[0].first(count)


# ---- rows


@pytest.mark.parametrize("kind", KINDS)
def test_absent_rows_play_no_part(kind):
    """Halves drawn from some rows only: the others may lie anywhere among the numbers."""
    whole, _ = world(30, 2, noise=1.0)
    place = torch.tensor([0, 2, 3, 5, 6, 7, 10, 11, 12, 13, 15, 16])
    present = torch.zeros(18, dtype=torch.bool)
    present[place] = True
    block = {ROWS: place[whole.rows], "train": torch.zeros(30, 18, 2)}
    block["train"][:, place] = whole.blocks[0]["train"]
    block["test"] = whole.blocks[0]["test"]
    narrow, wide = kind(whole), kind(HalfDataModels([block], present))
    if kind is Ridge:  # columns of zeros change the sample that the strength is chosen on
        wide.__dict__["strength"] = narrow.strength
    asked = {"train": place[ASKED["train"]], "test": ASKED["test"]}
    assert same(wide.changes(place[FORGET], asked), narrow.changes(FORGET, ASKED))


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_rows_is_irrelevant(kind):
    model = kind(world(30, 2, noise=1.0)[0])
    assert same(model.changes(FORGET, ASKED), model.changes(FORGET[[2, 0, 1]], ASKED))
    found = model.without(FORGET, ASKED["train"])
    turned = model.without(FORGET, ASKED["train"].flip(0))
    assert all(torch.allclose(a.flip(0), b) for a, b in zip(found, turned, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_centred_outputs_ignore_what_all_classes_share(kind):
    """A number a model adds to all its logits is noise, and is seen where it is not taken out."""
    whole, _ = world(30, 3, noise=1.0)
    shift = 5 * torch.randn(30, N, 1, generator=generator(3))
    (block,) = whole.blocks
    moved = [{**block, "train": block["train"] + shift}]
    plain, shifted = (
        kind(HalfDataModels(blocks, EVERY, centred=True)) for blocks in (whole.blocks, moved)
    )
    if kind is Ridge:
        assert shifted.strength == pytest.approx(plain.strength)
    rows = {"train": ASKED["train"]}
    found = plain.changes(FORGET, rows)
    assert same(found, shifted.changes(FORGET, rows), 1e-5)  # outputs are float32
    assert found["train"].mean.sum(-1).abs().max() < 1e-10
    assert not same(
        kind(whole).changes(FORGET, rows),
        kind(replace(whole, blocks=moved)).changes(FORGET, rows),
        0.1,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_no_half_was_drawn_from_are_refused(kind):
    present = EVERY.clone()
    present[5] = False
    model = kind(replace(world(20, 1, noise=1.0)[0], present=present))
    with pytest.raises(BadInput, match=r"row 5 was in no half-data model \(1 such\)"):
        model.without(FORGET, torch.arange(3))
