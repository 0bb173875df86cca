"""fit(): half-data models found again for later requests."""

from dataclasses import replace

import pytest
import torch

from expunge.attribution.fit import find, fit
from expunge.contract.problems import blobs, tiny
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.maker import Maker


@pytest.fixture
def problem():
    return tiny(epochs=1)


def test_a_fit_is_of_the_half_models(workshop, problem):
    maker = Maker(problem, replace(workshop, group=5))
    assert find(maker, 20) is None
    fitted = fit(maker, 20)
    tensors, cost = maker.half_models(20)
    assert (fitted.count, fitted.one, fitted.reused) == (20, cost, False)
    assert torch.equal(fitted.attribution.rows, tensors["rows"])
    assert fitted.attribution.outputs.keys() == {"train", "validation", "test"}
    for name, outputs in fitted.attribution.outputs.items():
        assert torch.equal(outputs, tensors[name])
    assert fitted.attribution.present.all()


def test_a_later_request_finds_it(workshop, problem):
    workshop = replace(workshop, group=5)
    first = fit(Maker(problem, workshop), 25)
    gone = torch.tensor([3, 7])
    for later in (
        problem,
        problem.forgetting([50]),
        problem.forgetting([50]).without(gone),
        replace(problem.forgetting([50]), ids=range(60)),
    ):
        for count in (20, 25):
            again = fit(Maker(later, workshop), count)
            assert again.reused
            assert again.count == count  # a smaller one is what it would be if made anew
            assert torch.equal(again.attribution.rows, first.attribution.rows[:count])


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
def test_another_question_does_not(workshop, problem, change):
    workshop = replace(workshop, group=5)
    fit(Maker(problem, workshop), 20)
    later, workshop, count = change(problem, workshop)
    assert find(Maker(later, workshop), count) is None


def test_a_fit_of_fewer_rows_does_not_serve_more(workshop, problem):
    workshop = replace(workshop, group=5)
    fit(Maker(problem.without(torch.tensor([1])), workshop), 20)
    assert find(Maker(problem, workshop), 20) is None


def test_a_fit_that_lost_a_block_is_made_again(workshop, problem):
    maker = Maker(problem, replace(workshop, group=5))
    first = fit(maker, 20)
    key = maker.keys("subset", 20)[2]
    (workshop.store.root / f"{key}.json").unlink()
    assert find(maker, 20) is None
    again = fit(maker, 20)
    assert not again.reused
    assert torch.equal(again.attribution.outputs["test"], first.attribution.outputs["test"])


def test_too_few_half_models_are_refused(workshop, problem):
    with pytest.raises(BadInput, match="19 half-data models.*at least 20.*raise --half-models"):
        fit(Maker(problem, workshop), 19)
