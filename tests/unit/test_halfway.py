"""Halfway: a training that is killed goes on, and ends as if nothing had happened."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.problems import tiny
from expunge.halfway import Halfway
from expunge.maker import Maker, Workshop
from expunge.store import Store
from expunge.train import train


class Killed(Exception):
    """In the place of a signal."""


def build():
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def noisy(batch, draws):
    return batch._replace(inputs=batch.inputs + draws.normal(batch.inputs.shape[1:]))


def problem(optimizer):
    base = tiny()
    how = {"build": build, "optimizer": optimizer, "ema": 0.9, "augment": noisy}
    return replace(base, recipe=replace(base.recipe, **how))


@pytest.mark.parametrize("ids", [(0,), (0, 1, 2)], ids=["one", "three"])
@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.SGD, lr=0.1, momentum=0.9), partial(torch.optim.Adam, lr=0.01)],
    ids=["SGD", "Adam"],
)
def test_a_killed_training_ends_with_the_same_bits(tmp_path, monkeypatch, optimizer, ids):
    asked = problem(optimizer)
    run = partial(train, asked, "original", ids, seed=0, group=len(ids))
    whole, cost = run()
    store, seen = Store(tmp_path), []
    offer = Halfway.offer

    def killed(self, weights, opt, spent):
        offer(self, weights, opt, spent)
        seen.append(spent.steps)
        if len(seen) == 7:
            raise Killed

    monkeypatch.setattr(Halfway, "offer", killed)
    with pytest.raises(Killed):
        run(halfway=Halfway(store, "halfway/x", every=0.0))
    again, paid = run(halfway=Halfway(store, "halfway/x", every=0.0))
    assert seen[7] == 8, "it went on after the seventh step"
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name
    read = len(seen[7:] + seen[:7]) * asked.recipe.batch_size
    assert paid.forward_rows == paid.backward_rows == cost.forward_rows == read


def test_a_short_training_keeps_nothing_and_a_finished_one_is_dropped(tmp_path, monkeypatch):
    store = Store(tmp_path)
    train(tiny(), "original", (0,), seed=0, halfway=Halfway(store, "halfway/x"))
    assert store.load("halfway/x") is None
    kept, offer = [], Halfway.offer

    def at_once(self, *words):
        self._last = -self.every
        offer(self, *words)
        kept.append(list((tmp_path / "halfway").glob("*.json")))

    monkeypatch.setattr(Halfway, "offer", at_once)
    Maker(tiny(), Workshop(store, jobs=1, group=1, progress=False)).make({"original": 1})
    assert all(kept), "each step was kept"
    assert not list((tmp_path / "halfway").glob("*"))
