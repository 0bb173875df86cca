"""What forget() shows while it works: bars that end where they said, and the same model."""

from dataclasses import replace

import pytest
import torch

from expunge.api.forget import forget
from expunge.api.provenance import duplicates
from expunge.contract.counting import Counting
from expunge.contract.problems import FORGET, mlp, tiny
from expunge.data import DatasetData
from expunge.data import progress as meter
from expunge.data.fingerprints import fingerprints
from expunge.methods import METHODS
from expunge.rng import seeded
from expunge.training.from_trainer import FromTrainer
from expunge.training.model_cache import ModelCache


class Bars:
    """The bars that were shown: label, what they should reach, and what they reached."""

    def __init__(self):
        self.shown = []

    def __call__(self, label, total, show):
        assert show
        self.shown.append([label, total, 0])
        return self

    def __enter__(self):
        return self.advance

    def __exit__(self, *why):
        pass

    def advance(self, rows):
        self.shown[-1][2] += rows


@pytest.fixture
def bars(monkeypatch):
    found = Bars()
    monkeypatch.setattr(meter, "bar", found)
    monkeypatch.setattr(meter, "PATIENCE", 0.0)
    monkeypatch.setattr(meter, "EVERY", 0.0)
    return found


@pytest.fixture
def model():
    with seeded(0):
        return mlp()


OTHERWISE = {"dm-direct", "single-gradient", "amnesiac"}  # return no model, or need a history
CASES: dict[str, dict] = {
    **{name: {} for name in METHODS if name not in OTHERWISE},
    "dmm by trak": {"steps": 5, "attribution": "trak"},
    "dmm, twice linearised": {"steps": 5, "attribution": "linearised:rounds=2"},
}

ABOUT = {"boundary-shrink": 0.1, "fisher": 0.5}  # not one forward a row: the law of that name


@pytest.mark.parametrize(("label", "chosen"), CASES.items(), ids=CASES)
def test_the_bars_end_where_they_said_and_the_model_is_the_same(
    bars, runtime, model, label, chosen
):
    name, problem = label.split(",")[0].split(" ")[0], tiny(forget=())
    counted = Counting(problem.train.inputs, problem.train.targets)
    problem = replace(problem, train=counted)
    quiet = forget(model, problem, FORGET, method=name, runtime=runtime, **chosen)
    assert bars.shown == []
    before, counted.read = counted.read, 0
    loud = replace(runtime, progress=True)
    done = forget(model, problem, FORGET, method=name, runtime=loud, **chosen)
    if name != "oracle-matching":  # its teacher is in the store by now
        assert counted.read == before
    assert [one for one, _, _ in bars.shown] == (
        ["Attribution, rows"] * (name == "dmm")
        + ["Hashing rows"] * (name == "oracle-matching")
        + ["Forgetting, rows"]
    )
    for what, total, reached in bars.shown:
        beside = what == "Attribution, rows" and "trak" not in label  # one row tells the layers
        near = ABOUT.get(name, 0.0) * total
        assert reached == pytest.approx(total + beside, abs=near, rel=0), what
        assert total > 0
    for one, other in zip(done.model.parameters(), quiet.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert done.problem.train is problem.train


def test_a_trainer_gets_the_data_itself(bars, runtime, model):
    """It may hand the data to processes of its own, and shows what it does in its own way."""
    problem, seen = tiny(forget=()), []

    def trainer(data, rows, *, seed, device):
        seen.append(data)
        with seeded(seed):
            return mlp()

    trainer.key, trainer.epochs = "test", 1
    problem = replace(problem, recipe=trainer)
    loud = replace(runtime, progress=True)
    forget(model, problem, FORGET, method="retrain", runtime=loud)
    assert seen[-1] is problem.train
    assert bars.shown == []
    assert FromTrainer(problem.recipe).module(problem.train, problem.retain, 0, "cpu") is not None


def test_hashing_rows_and_looking_for_copies_show_a_bar(bars, runtime):
    problem = tiny()
    cache = ModelCache(problem, replace(runtime, progress=True))
    every = torch.arange(len(problem.train))
    assert torch.equal(cache.content, fingerprints(problem.train, every))
    assert torch.equal(duplicates(problem, progress=True), duplicates(problem))
    assert bars.shown == [
        ["Hashing rows", 60, 60],
        ["Looking for copies", len(problem.retain), len(problem.retain)],
    ]


def test_rows_of_a_data_set_are_hashed_one_by_one_under_a_bar_too(bars):
    """Where they have a collate of their own; the bar must not hide which kind of data it is."""
    items = [(torch.full((2,), float(k % 3)), k % 2) for k in range(6)]

    def collate(rows):
        assert len(rows) == 1 or len(rows) == 6, "one by one, but for the first look"
        return torch.stack([x for x, _ in rows]), torch.tensor([y for _, y in rows])

    data = DatasetData(items, collate=collate)
    with meter.with_progress(data, "Hashing rows", 6, True) as told:
        found = fingerprints(told, torch.arange(6))
    assert torch.equal(found, fingerprints(data, torch.arange(6)))
    assert bars.shown == [["Hashing rows", 6, 6]]
