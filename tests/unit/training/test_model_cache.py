"""ModelCache: models made once, found again for the same question only."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.problems import batchnorm, tiny, with_nan
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.training.from_recipe import subset_rows, train
from expunge.training.model_cache import ModelCache


def keys(problem, runtime, role="original", count=3):
    return ModelCache(problem, runtime).keys(role, count)


@pytest.mark.parametrize("group", [1, 2])
def test_what_is_kept_is_what_training_gives(runtime, group):
    problem, runtime = tiny(batchnorm), replace(runtime, group=group)
    kept = ModelCache(problem, runtime).models("oracle", 3)
    made, _ = train(problem, "oracle", range(3), seed=0, group=group)
    assert kept.ids == (0, 1, 2)
    assert all(torch.equal(kept.tensors()[n], t) for n, t in made.tensors().items())


def freeze(module, data, rows):
    """As a whitening layer is: fitted on the rows, then fixed."""
    with torch.no_grad():
        module[0].weight.fill_(len(rows) / 100)
    module[0].requires_grad_(False)


def add(module, data, rows):
    module.register_buffer("mean", torch.full((6,), float(len(rows))))


@pytest.mark.parametrize("fit", [freeze, add])
def test_what_fit_freezes_or_adds_is_kept(runtime, fit):
    """Else a method would train what was fixed, or run a model that lacks a part."""
    problem = tiny(fit=fit)
    made, _ = train(problem, "original", range(2), seed=0)
    kept = ModelCache(problem, runtime).models("original", 2)
    assert kept.weights().keys() == made.weights().keys()
    assert kept.tensors().keys() == made.tensors().keys()
    assert all(torch.equal(kept.tensors()[n], t) for n, t in made.tensors().items())


def test_nothing_is_made_twice(runtime, monkeypatch):
    ModelCache(tiny(), runtime).make({"original": 2, "subset": 2})
    monkeypatch.setattr(
        "expunge.training.model_cache.train", lambda *_, **__: pytest.fail("trained again")
    )
    again = ModelCache(tiny(), runtime)
    again.make({"original": 2, "subset": 2})
    assert len(again.models("original", 2)) == 2


def test_a_lost_or_damaged_block_is_made_again(runtime):
    cache = ModelCache(tiny(), runtime)
    first = cache.models("original", 3).tensors()
    lost, hurt, _ = cache.keys("original", 3)
    (runtime.store.root / f"{lost}.json").unlink()
    path = runtime.store.root / f"{hurt}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged"):
        again = cache.models("original", 3).tensors()
    assert all(torch.equal(first[n], again[n]) for n in first)


def changed_inputs(problem, rows, by=1.0):
    inputs = problem.train.inputs.clone()
    inputs[rows] += by
    return replace(problem, train=TensorData(inputs, problem.train.targets))


def changed_targets(problem, row):
    targets = problem.train.targets.clone()
    targets[row] = (targets[row] + 1) % 3
    return replace(problem, train=TensorData(problem.train.inputs, targets))


OTHER = {
    "another recipe": lambda p: replace(p, recipe=replace(p.recipe, epochs=4)),
    "rows gone before": lambda p: p.without(torch.tensor([0])),
    "another content of a row": lambda p: changed_inputs(p, [20]),
    "another target": lambda p: changed_targets(p, 20),
    "rows in another order": lambda p: replace(
        p, train=TensorData(p.train.inputs.flip(0), p.train.targets.flip(0))
    ),
}


@pytest.mark.parametrize("role", ["original", "oracle", "subset"])
@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_another_question_has_another_key(runtime, role, change):
    problem = tiny()
    assert not {*keys(problem, runtime, role)} & {*keys(change(problem), runtime, role)}


def test_a_key_says_role_seed_members_and_group(runtime):
    problem = tiny()
    found = [
        *keys(problem, runtime, "original", 4),
        *keys(problem, runtime, "oracle", 4),
        *keys(problem, runtime, "null", 4),
        *keys(problem, replace(runtime, seed=1), "original", 4),
        *keys(problem, replace(runtime, group=2), "original", 4),
    ]
    assert len(set(found)) == 4 * 4 + 2
    assert keys(problem, replace(runtime, jobs=2)) == keys(problem, runtime)


def test_originals_and_halves_serve_any_forget_set(runtime):
    problem = tiny()
    for role, shared in (("original", True), ("subset", True), ("oracle", False)):
        pair = [keys(p, runtime, role) for p in (problem, problem.forgetting([50]))]
        assert (pair[0] == pair[1]) == shared


def test_half_models_say_their_rows_and_answer_on_every_row(runtime):
    problem = tiny().without(torch.tensor([0, 59]))
    cache = ModelCache(problem, replace(runtime, group=2))
    cost = cache.half_models(5)
    blocks = [cache.kept(key).tensors for key in cache.keys("subset", 5)]
    tensors = {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}
    assert torch.equal(tensors["rows"], subset_rows(problem, range(5), 0))
    assert {n: tuple(t.shape) for n, t in tensors.items()} == {
        "rows": (5, 29),
        "train": (5, 60, 3),
        "validation": (5, 30, 3),
        "test": (5, 24, 3),
    }
    models, _ = train(problem, "subset", range(5), seed=0, group=2)
    rows = problem.present_rows
    wanted = models.outputs(problem.task, problem.train, rows)
    assert torch.allclose(tensors["train"][:, rows], wanted, atol=1e-6)
    assert (tensors["train"][:, [0, 59]] == 0).all()
    assert cost.row_units == 3 * 3 * 16


def test_rows_gone_before_are_never_read(runtime):
    problem = tiny()
    broken = with_nan(problem, torch.tensor([0, 59])).without(torch.tensor([0, 59]))
    cache = ModelCache(broken, runtime)
    cache.make({"original": 1, "oracle": 1, "subset": 1})
    assert (cache.content[[0, 59]] == 0).all()


def test_a_store_that_is_cleaned_meanwhile_is_told(runtime):
    cache = ModelCache(tiny(), runtime)
    cache.make({"original": 1})
    (key,) = cache.keys("original", 1)
    (runtime.store.root / f"{key}.json").unlink()
    with pytest.raises(BadInput, match="lost models/.* while it was in use"):
        cache.block(key, [0])


def test_blocks_are_of_one_group(runtime):
    cache = ModelCache(tiny(), replace(runtime, group=4))
    assert cache.blocks(10) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert cache.blocks(0) == []


def test_the_history_of_a_block_leads_to_its_models(problem, runtime):
    cache = ModelCache(problem, replace(runtime, seed=5, group=2))
    models, told = cache.models("original", 4), cache.history((2, 3))
    assert (told.ids, told.seed, told.group) == ((2, 3), 5, cache.group)
    begin, moved = told.start().weights(), told.updates(problem.present_rows)
    for name, weight in models.weights().items():
        assert torch.allclose(begin[name] + moved[name], weight[2:].double(), atol=1e-6)
