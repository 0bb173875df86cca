"""Halfway: a training that is killed goes on, and ends as if nothing had happened."""

import errno
import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from expunge.contract.problems import tiny
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.store import checkpoint as checkpoint
from expunge.store.checkpoint import Checkpoint, Spent
from expunge.training.from_recipe import train
from expunge.training.model_cache import ModelCache

ALWAYS = {"every": 0.0, "share": float("inf")}  # after each step


DONE = Spent()._asdict()


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
    offer = Checkpoint.offer

    def killed(self, weights, opt, spent):
        offer(self, weights, opt, spent)
        seen.append(spent.steps)
        if len(seen) == 7:
            raise Killed

    monkeypatch.setattr(Checkpoint, "offer", killed)
    with pytest.raises(Killed):
        run(checkpoint=Checkpoint(store, "checkpoint/x", **ALWAYS))
    again, paid = run(checkpoint=Checkpoint(store, "checkpoint/x", **ALWAYS))
    assert seen[7] == 8, "it went on after the seventh step"
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name
    read = len(seen[7:] + seen[:7]) * asked.recipe.batch_size
    assert paid.forward_rows == paid.backward_rows == cost.forward_rows == read


def kept_at(store, *steps):
    """A training of two weights, kept after so many steps, each time with their number in it."""
    weights = {"w": torch.zeros(2, requires_grad=True)}
    optimizer = torch.optim.SGD(weights.values(), lr=0.1)
    training = Checkpoint(store, "checkpoint/x", **ALWAYS, live={"w": weights["w"].detach()})
    for step in steps:
        training.live["w"].fill_(step)
        training.offer(weights, optimizer, Spent(step))
    return training


def resumed(store):
    """The number of steps, and what is in the weights."""
    live = torch.zeros(2)
    training = Checkpoint(store, "checkpoint/x", live={"w": live})
    return training.resume({}, None).steps, live.tolist()


@pytest.mark.parametrize("written", range(4), ids=lambda n: f"after {n} changes on disk")
def test_killed_while_it_is_kept_the_last_keeping_is_there(tmp_path, monkeypatch, written):
    store, calls = Store(tmp_path), []
    kept_at(store, 5)

    def killed(then, *words, **named):
        calls.append(words)
        if len(calls) > written:  # of two files that are written, and two that are removed
            raise Killed
        then(*words, **named)

    monkeypatch.setattr(os, "replace", partial(killed, os.replace))
    monkeypatch.setattr(Path, "unlink", lambda path, **_: killed(os.unlink, path))
    with pytest.raises(Killed):
        kept_at(store, 9)
    monkeypatch.undo()
    assert resumed(store) == ((5, [5.0, 5.0]) if written < 2 else (9, [9.0, 9.0]))


def test_of_two_keepings_the_older_is_overwritten(tmp_path, monkeypatch):
    """As a kill before the older one's removal leaves them, in either order."""
    for first, second in (("a", "b"), ("b", "a")):
        store = Store(tmp_path / first)
        for place, step in ((first, 4), (second, 7)):
            store.save(
                f"checkpoint/x-{place}", {"live/w": torch.full((2,), step)}, {**DONE, "steps": step}
            )
        taken = []
        monkeypatch.setattr(Store, "save", lambda self, key, *_, taken=taken: taken.append(key))
        kept_at(store, 9)
        monkeypatch.undo()
        assert taken == [f"checkpoint/x-{first}"]


def test_only_the_last_keeping_takes_room(tmp_path):
    kept_at(Store(tmp_path), 1, 2, 3)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert resumed(Store(tmp_path)) == (3, [3.0, 3.0])


def test_a_damaged_keeping_is_told_and_what_was_kept_before_is_taken(tmp_path):
    store = Store(tmp_path)
    kept_at(store, 4)
    (one,) = store.keys("checkpoint")
    held = store.load(one)
    kept_at(store, 7)
    store.save(one, *held)  # as a kill before the removal leaves it
    (other,) = set(store.keys("checkpoint")) - {one}
    path = store.paths(other)[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged"):
        assert resumed(store) == (4, [4.0, 4.0])


def test_a_full_disk_does_not_end_a_training_that_is_not_over(tmp_path, monkeypatch):
    store = Store(tmp_path)
    kept_at(store, 5)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.warns(UserWarning, match="is not kept: cannot write .*No space left"):
        kept_at(store, 9)
    monkeypatch.undo()
    assert resumed(store) == (5, [5.0, 5.0])


def test_the_clock_on_the_wall_does_not_matter(tmp_path, monkeypatch):
    for wrong in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
        store = Store(tmp_path / str(wrong))
        kept_at(store, 3)
        assert resumed(store) == (3, [3.0, 3.0])


def test_a_short_training_keeps_nothing_and_a_finished_one_is_dropped(tmp_path, monkeypatch):
    store = Store(tmp_path)
    train(tiny(), "original", (0,), seed=0, checkpoint=Checkpoint(store, "checkpoint/x"))
    assert not list(store.keys("checkpoint"))
    kept, offer = [], Checkpoint.offer

    def at_once(self, *words):
        self._last = float("-inf")
        offer(self, *words)
        kept.append(list((tmp_path / "checkpoint").glob("*.json")))

    monkeypatch.setattr(Checkpoint, "offer", at_once)
    ModelCache(tiny(), Runtime(store, jobs=1, group=1, progress=False)).make({"original": 1})
    assert all(kept), "each step was kept"
    assert not list((tmp_path / "checkpoint").glob("*"))


def test_what_takes_long_to_keep_is_kept_more_rarely(tmp_path, monkeypatch):
    now, kept = [0.0], []

    def slow(self, key, tensors, facts):
        now[0] += 10.0
        kept.append(facts["steps"])

    monkeypatch.setattr(checkpoint, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Store, "save", slow)
    weight = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    training = Checkpoint(Store(tmp_path), "checkpoint/x", every=60.0, share=0.1)
    for second in range(0, 300, 10):
        now[0] = max(now[0], second)
        training.offer({"w": weight}, optimizer, Spent(second))
    assert kept == [60, 170, 280]  # after a minute, and then 100 seconds after each keeping
