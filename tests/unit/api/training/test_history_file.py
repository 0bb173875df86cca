"""A history read back: the same, and of this model, problem and recipe alone."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.api.forget import forget
from expunge.api.history_file import read_history
from expunge.contract.problems import tiny64
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.store import Store
from expunge.store.checksummed import read_checksummed, write_checksummed
from expunge.training.unrolled.recording import Recording

from .common import FIRST, MEMBER, SECOND, SEED


def test_a_history_is_read_back_as_it_was(make, tmp_path, runtime):
    problem = tiny64(forget=()).without(torch.tensor(SECOND))
    made = make(problem, record=torch.tensor(FIRST))
    place = tmp_path / "out"
    later = problem.without(torch.tensor(FIRST))  # what was forgotten since is told as it was
    for where, asked in ((place, problem), (place / "model.safetensors", problem), (place, later)):
        found = read_history(where, asked, replace(runtime, seed=99), made.model)
        assert (found.ids, found.seed, found.group) == ((MEMBER,), SEED, 1)
        assert torch.equal(found.plan, made.history.plan)
        assert found.recording == Recording(place / "updates")
    assert read_history(place, problem, runtime).ids == (MEMBER,)


def test_a_history_is_known_again_elsewhere(make, tmp_path, runtime):
    """Without the store, and where the recipe's numbers come out with other rounding."""
    made, path = make(), tmp_path / "out/model.history.json"
    elsewhere = replace(runtime, store=Store(tmp_path / "elsewhere"))
    assert read_history(path, tiny64(forget=()), elsewhere, made.model).ids == (MEMBER,)
    facts = read_checksummed(path)
    facts["recipe"]["name"] = "a name by other bits"
    facts["recipe"]["does"] = [x + 1e-6 for x in facts["recipe"]["does"]]
    write_checksummed(path, facts)
    assert read_history(path, tiny64(forget=()), elsewhere, made.model).ids == (MEMBER,)
    facts["recipe"]["does"][0] += 0.01
    write_checksummed(path, facts)
    with pytest.raises(BadInput, match="a training by another recipe"):
        read_history(path, tiny64(forget=()), runtime, made.model)
    assert not list(elsewhere.store.root.glob("recipes/*"))


def faster(problem):
    optimizer = partial(torch.optim.SGD, lr=0.11)
    return replace(problem, recipe=replace(problem.recipe, optimizer=optimizer))


def fewer(problem):
    data = TensorData(problem.train.inputs[:50], problem.train.targets[:50])
    return replace(problem, train=data)


@pytest.mark.parametrize(
    ("change", "match"),
    [(faster, "tells of a training by another recipe"), (fewer, "a training on other rows")],
)
def test_the_history_of_another_training_is_refused(make, tmp_path, runtime, change, match):
    made = make()
    with pytest.raises(BadInput, match=match):
        read_history(tmp_path / "out", change(tiny64(forget=())), runtime, made.model)


def test_the_history_of_another_model_is_refused(make, tmp_path, runtime):
    one = make()
    two = make(out="two", member=MEMBER + 1)
    problem = tiny64(forget=())
    with pytest.raises(BadInput, match="tells of another model's weights.*wrote this model into"):
        read_history(tmp_path / "out", problem, runtime, two.model)
    with pytest.raises(BadInput, match="another model's weights"):
        forget(
            two.model,
            problem,
            FIRST,
            method="single-gradient",
            runtime=runtime,
            history=tmp_path / "out",
        )
    assert read_history(tmp_path / "out", problem, runtime, one.model).ids == (MEMBER,)


DAMAGES = {
    "cut": lambda text: text[:-20],
    "schema": lambda text: text.replace("expunge.history/1", "expunge.history/9"),
    "list": lambda text: "[]",
    "sketch": lambda text: text.replace('"does"', '"did"'),
    "weights": lambda text: text.replace('"weights"', '"weigths"'),
    "lacking": lambda text: text.replace('"member"', '"number"'),
    "absent": lambda text: text.replace('"absent": []', '"absent": [1000]'),
    "words": lambda text: text.replace('"absent": []', '"absent": ["a"]'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_history_is_refused(make, tmp_path, runtime, damage):
    make()
    path = tmp_path / "out/model.history.json"
    text = json.dumps(read_checksummed(path))  # as one that was written before there were seals
    assert DAMAGES[damage](text) != text
    path.write_text(DAMAGES[damage](text))
    with pytest.raises(BadInput, match=r"does not tell how a model.*schema expunge\.history/1"):
        read_history(tmp_path / "out", tiny64(forget=()), runtime)


def test_where_there_is_no_history_it_is_said_how_to_have_one(tmp_path, runtime):
    with pytest.raises(BadInput, match=r"there is no .*--history FOLDER"):
        read_history(tmp_path, tiny64(), runtime)
