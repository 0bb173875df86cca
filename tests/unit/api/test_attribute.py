"""attribute(): half-data models in a file, used elsewhere, and refused where they do not belong."""

import json
import os
import zipfile
from dataclasses import replace

import pytest
import torch

import expunge
from expunge.api.attribute import attribute
from expunge.api.compare import compare
from expunge.attribution.fit import fit
from expunge.contract.problems import mlp, tiny
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.rng import seeded
from expunge.store import Store
from expunge.training.model_cache import ModelCache

ROWS = [3, 7, 11]


@pytest.fixture
def problem():
    return tiny(epochs=2, forget=())


@pytest.fixture
def file(problem, runtime, tmp_path):
    path = tmp_path / "halves.zip"
    made = attribute(problem, out=path, runtime=replace(runtime, group=8), models=24)
    assert (made.count, made.reused) == (24, False)
    return path


def elsewhere(runtime, tmp_path, name="elsewhere"):
    return replace(runtime, group=8, store=Store(tmp_path / name))


def forget(problem, runtime, attribution, **given):
    with seeded(0):
        model = mlp()
    words = {"method": "dmm", "steps": 3, "attribution": str(attribution), **given}
    return expunge.forget(model, problem, ROWS, runtime=runtime, **words)


@pytest.mark.parametrize("when", [0, 4e9])
def test_a_file_does_not_depend_on_the_clock(problem, runtime, tmp_path, file, when):
    """Nor does one that stood at the beginning of time when models were made."""
    for path in runtime.store.root.rglob("*.*"):
        os.utime(path, (when, when))
    again = tmp_path / "again.zip"
    attribute(problem, out=again, runtime=replace(runtime, group=8), models=24)
    assert again.read_bytes() == file.read_bytes()


def test_a_damaged_block_does_not_travel(problem, runtime, tmp_path, file):
    path = sorted(runtime.store.root.glob("outputs/*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    again, ask = tmp_path / "again.zip", replace(runtime, group=8)
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(BadInput, match="run the same command again"),
    ):
        attribute(problem, out=again, runtime=ask, models=24)
    assert not again.exists()
    attribute(problem, out=again, runtime=ask, models=24)
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(file) as other:
        for name in one.namelist():
            if name.endswith(".safetensors"):
                assert one.read(name) == other.read(name), name


def test_a_file_serves_another_store_without_any_training(problem, runtime, tmp_path, file):
    other = elsewhere(runtime, tmp_path)
    done = forget(problem, other, file)
    assert done.card.shared_cost["what"] == "24 half-data models"
    assert done.card.settings["attribution"] == "combined"
    assert not list(other.store.keys("models"))
    again = fit(ModelCache(problem, other), 24)
    assert again.reused
    first = fit(ModelCache(problem, replace(runtime, group=8)), 24)
    assert torch.equal(again.halves.rows, first.halves.rows)


def test_a_file_serves_a_comparison_without_more_half_data_models(problem, runtime, tmp_path, file):
    other = elsewhere(runtime, tmp_path)
    methods = {"dmm": METHODS["dmm"](steps=3, attribution=str(file))}
    found = compare(
        problem.forgetting(ROWS), methods, out=tmp_path / "out", runtime=other, members=50
    )
    assert found["methods"]["dmm"]["settings"]["attribution"] == "combined"
    assert found["methods"]["dmm"]["shared_cost"]["what"] == "24 half-data models"
    assert fit(ModelCache(problem, other), 24).reused


def test_it_is_used_as_it_was_written_for(problem, runtime, tmp_path):
    path = tmp_path / "halves.zip"
    runtime = replace(runtime, group=8)
    attribute(problem, out=path, runtime=runtime, models=24, kind="difference")
    assert forget(problem, runtime, path).card.settings["attribution"] == "difference"
    with zipfile.ZipFile(path) as packed:
        about = json.loads(packed.read("about.json"))
    assert about["outputs"] == {"test": [24, 3], "train": [60, 3], "validation": [30, 3]}
    assert about["half_data_models"] == 24


def other_recipe(p):
    return replace(p, recipe=replace(p.recipe, epochs=3))


def other_content(p):
    return replace(p, train=TensorData(p.train.inputs + 1, p.train.targets))


def other_judges(p):
    return replace(p, test=None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_recipe, "another recipe"),
        (other_content, "other train rows"),
        (other_judges, "other validation or test rows"),
    ],
)
def test_another_problem_is_told_what_differs(problem, runtime, tmp_path, file, change, told):
    with pytest.raises(BadInput, match=f"does not belong to this problem: {told}"):
        forget(change(problem), elsewhere(runtime, tmp_path), file)


def test_another_seed_is_told(problem, runtime, tmp_path, file):
    with pytest.raises(BadInput, match="seed 0, and 3 is asked for"):
        forget(problem, elsewhere(runtime, tmp_path), file, seed=3)


def test_what_is_no_attribution_is_refused(problem, runtime, tmp_path, file):
    whole = file.read_bytes()
    (tmp_path / "short.zip").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 255
    (tmp_path / "flipped.zip").write_bytes(flipped)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as packed:
        packed.writestr("about.json", "{}")
    for name in ("short", "flipped", "other"):
        with pytest.raises(BadInput, match=f"{name}.zip is no attribution, or it is damaged"):
            forget(problem, elsewhere(runtime, tmp_path, name), tmp_path / f"{name}.zip")
    with pytest.raises(BadInput, match="there is no file .*gone.zip"):
        forget(problem, runtime, tmp_path / "gone.zip")


def test_nothing_else_gets_into_the_store(problem, runtime, tmp_path, file):
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr("models/abc.json", "{}")
        packed.writestr("../outside.json", "{}")
    other = elsewhere(runtime, tmp_path)
    forget(problem, other, file)
    assert not (other.store.root / "models").exists()
    assert not (tmp_path / "outside.json").exists()


def test_a_kind_without_a_fit_is_refused_before_any_work(problem, runtime, tmp_path):
    with pytest.raises(BadInput, match="'linearised' has nothing to fit.*use it at once"):
        attribute(problem, out=tmp_path / "a.zip", runtime=runtime, kind="linearised", models=20)
    bare = replace(problem, recipe=None)
    with pytest.raises(BadInput, match="no recipe"):
        attribute(bare, out=tmp_path / "a.zip", runtime=runtime, models=20)
    assert not (tmp_path / "a.zip").exists()
