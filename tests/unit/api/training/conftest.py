"""A runtime, a training in it, and its death."""

from functools import partial

import pytest

from expunge.api import trained as room
from expunge.api.trained import train_model
from expunge.contract.problems import tiny64
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.store.checkpoint import Checkpoint

from .common import MEMBER, SEED, Killed


@pytest.fixture
def runtime(tmp_path):
    return Runtime(Store(tmp_path / "store"), seed=SEED, jobs=1, group=1, progress=False)


@pytest.fixture
def make(tmp_path, runtime):
    """Train member 3 of a problem into a folder."""

    def making(problem=None, out="out", **given):
        problem = tiny64(forget=()) if problem is None else problem
        given = {"runtime": runtime, "member": MEMBER, **given}
        return train_model(problem, out=tmp_path / out, **given)

    return making


@pytest.fixture
def kill(monkeypatch):
    """Every step is kept; the training dies after so many, or not at all."""

    def killing(after):
        class Dying(Checkpoint):
            def offer(self, weights, optimizer, spent):
                super().offer(weights, optimizer, spent)
                if spent.steps == after:
                    raise Killed

        monkeypatch.setattr(room, "Checkpoint", partial(Dying, every=0.0, share=float("inf")))

    return killing
