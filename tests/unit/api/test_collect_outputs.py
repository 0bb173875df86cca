"""What models say is kept, read and written block by block."""

import weakref
from collections.abc import Sequence

import pytest
import torch

from expunge import store
from expunge.api.collect_outputs import collect_outputs
from expunge.api.panel import Panel, write_evidence
from expunge.audit.evidence.groups import MARGIN
from expunge.contract.problems import tiny
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.training.model_cache import ModelCache

COUNTS = {"original": 7, "oracle": 4}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    kept = Store(tmp_path_factory.mktemp("observing"))
    cache = ModelCache(tiny(), Runtime(kept, jobs=1, group=3, progress=False))
    cache.make(COUNTS)
    panel = Panel.of(cache.problem, relearning=1)
    return cache, panel, collect_outputs(cache, panel, COUNTS)


def test_blocks_joined_are_what_all_models_say(seen):
    cache, panel, said = seen
    for role, count in COUNTS.items():
        assert [len(block["forget"]) for block in said[role]] == {7: [3, 3, 1], 4: [3, 1]}[count]
        whole = panel.answers(cache.problem, cache.models(role, count))
        for group, outputs in whole.items():
            # a block of one member is no group, whose products round otherwise
            assert torch.allclose(said[role].whole(group), outputs, atol=1e-5)
        assert said[role].whole("relearning").shape == (count, 2)
        assert said[role].whole("validation") is None


def test_what_was_read_once_is_not_read_again(seen, monkeypatch):
    cache, panel, said = seen

    def read(*_):
        raise AssertionError("outputs that the store holds were computed again")

    monkeypatch.setattr(Panel, "read", read)
    again = collect_outputs(cache, panel, COUNTS)
    assert torch.equal(again["oracle"].whole("test"), said["oracle"].whole("test"))


def test_evidence_has_the_bytes_of_all_outputs_written_at_once(seen, tmp_path):
    cache, panel, said = seen
    targets = panel.targets(cache.problem)
    write_evidence(tmp_path / "evidence", said, targets)
    for role in COUNTS:
        groups = (*panel.rows, *(group + MARGIN for group in panel.rows), "relearning")
        store.write_tensors(tmp_path / role, {group: said[role].whole(group) for group in groups})
        written = (tmp_path / "evidence" / f"{role}.safetensors").read_bytes()
        assert written == (tmp_path / role).read_bytes()


class Watched(Sequence):
    """Blocks made at each look, with the most that were ever alive at once."""

    def __init__(self):
        self.alive, self.most = weakref.WeakSet(), 0

    def __len__(self):
        return 20

    def __getitem__(self, place):
        place = range(20)[place]
        made = torch.full((2 if place < 19 else 1, 3, 2), float(place))
        self.alive.add(made)
        self.most = max(self.most, len(self.alive))
        return {"forget": made}


def test_few_blocks_are_in_memory_while_evidence_is_written(tmp_path):
    blocks = Watched()
    write_evidence(tmp_path / "evidence", {"oracle": blocks}, {"forget": torch.zeros(3)})
    assert blocks.most == 2
    written = store.decode((tmp_path / "evidence" / "oracle.safetensors").read_bytes())["forget"]
    assert written[:, 0, 0].tolist() == [float(k // 2) for k in range(38)] + [19.0]
