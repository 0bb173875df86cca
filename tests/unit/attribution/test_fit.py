"""fit(): half-data models found again for later requests."""

from dataclasses import replace

import pytest
import torch

from expunge.api.needs import Needs
from expunge.attribution import Datamodels
from expunge.attribution.fit import find, fit
from expunge.contract.problems import blobs, tiny
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.training.model_cache import ModelCache


@pytest.fixture
def problem():
    return tiny(epochs=1)


def test_a_fit_is_of_the_half_models(runtime, problem):
    cache = ModelCache(problem, replace(runtime, group=5))
    assert find(cache, 20) is None
    fitted = fit(cache, 20)
    assert (fitted.count, fitted.one, fitted.reused) == (20, cache.half_models(20), False)
    halves, stored = fitted.halves, [cache.kept(key).tensors for key in cache.keys("subset", 20)]
    assert torch.equal(halves.rows, torch.cat([tensors["rows"] for tensors in stored]))
    assert halves.splits == {"test": (24, 3), "train": (60, 3), "validation": (30, 3)}
    for block, tensors in zip(halves.blocks, stored, strict=True):
        assert all(torch.equal(block[name], tensors[name]) for name in tensors)
    assert halves.present.all()
    assert halves.centred  # logits


def test_the_last_block_is_cut(runtime, problem):
    halves = fit(ModelCache(problem, replace(runtime, group=8)), 24).halves
    again = fit(ModelCache(problem, replace(runtime, group=8)), 20).halves
    assert [len(block["rows"]) for block in again.blocks] == [8, 8, 4]
    assert torch.equal(again.rows, halves.rows[:20])


def test_a_later_request_finds_it(runtime, problem):
    runtime = replace(runtime, group=5)
    first = fit(ModelCache(problem, runtime), 25)
    gone = torch.tensor([3, 7])
    for later in (
        problem,
        problem.forgetting([50]),
        problem.forgetting([50]).without(gone),
        replace(problem.forgetting([50]), ids=range(60)),
    ):
        for count in (20, 25):
            again = fit(ModelCache(later, runtime), count)
            assert again.reused
            assert again.count == count  # a smaller one is what it would be if made anew
            assert torch.equal(again.halves.rows, first.halves.rows[:count])


def other_content(problem):
    inputs = problem.train.inputs.clone()
    inputs[50] += 1
    return replace(problem, train=TensorData(inputs, problem.train.targets))


OTHER = {
    "more models": lambda p, w: (p, w, 30),
    "another seed": lambda p, w: (p, replace(w, seed=1), 20),
    "another recipe": lambda p, w: (replace(p, recipe=replace(p.recipe, epochs=2)), w, 20),
    "another content": lambda p, w: (other_content(p), w, 20),
    "another test set": lambda p, w: (replace(p, test=blobs(24, 77)), w, 20),
    "another validation set": lambda p, w: (replace(p, validation=blobs(30, 77)), w, 20),
    "no test set": lambda p, w: (replace(p, test=None), w, 20),
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_another_question_does_not(runtime, problem, change):
    runtime = replace(runtime, group=5)
    fit(ModelCache(problem, runtime), 20)
    later, runtime, count = change(problem, runtime)
    assert find(ModelCache(later, runtime), count) is None


def test_a_fit_of_fewer_rows_does_not_serve_more(runtime, problem):
    runtime = replace(runtime, group=5)
    fit(ModelCache(problem.without(torch.tensor([1])), runtime), 20)
    assert find(ModelCache(problem, runtime), 20) is None


def test_a_fit_that_lost_a_block_is_made_again(runtime, problem):
    cache = ModelCache(problem, replace(runtime, group=5))
    first = fit(cache, 20)
    key = cache.keys("subset", 20)[2]
    (runtime.store.root / f"{key}.json").unlink()
    assert find(cache, 20) is None
    again = fit(cache, 20)
    assert not again.reused
    for block, before in zip(again.halves.blocks, first.halves.blocks, strict=True):
        assert torch.equal(block["test"], before["test"])


def test_too_few_half_models_for_a_forget_set_are_refused_before_any_is_trained(runtime, problem):
    """30 rows and 20 models: some row is in nearly all or none of ten."""
    cache = ModelCache(problem.forgetting(range(30)), runtime)
    told = "10 half-data models in each of 2 parts.*at least 34 for 30.*2.4 times the spread of a"
    with pytest.raises(BadInput, match=told):
        fit(cache, 20)
    with pytest.raises(BadInput, match=told):
        Needs(teachers=False, halves=True).counts(cache, 20, 20)
    assert not list(runtime.store.keys("outputs"))
    enough = fit(ModelCache(problem.forgetting(range(30)), runtime), 40)
    Datamodels(enough.halves).without(torch.arange(30), torch.arange(3))


def test_too_few_half_models_are_refused(runtime, problem):
    with pytest.raises(BadInput, match="19 half-data models.*at least 20.*raise --half-models"):
        fit(ModelCache(problem, runtime), 19)
