"""single-gradient and amnesiac: when they are exact, and how their error grows."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.contract.cases import same_bits, weights
from expunge.contract.problems import ROWS, blobs, mlp64, softmax_linear, tiny, tiny64
from expunge.methods import MethodInputs, method
from expunge.problem import Classification, Problem, Recipe
from expunge.problem.recipe import cosine
from expunge.training.from_recipe import train
from expunge.training.unrolled.history import History

IDS = (0, 1)


class Linear(Classification):
    """The loss is minus the true logit: linear in the weights of a linear model."""

    def loss(self, outputs, batch):
        return -outputs.gather(-1, batch.targets[..., None]).squeeze(-1)


def question(forget=(3, 7, 11), **recipe) -> Problem:
    """Three-class rows in float64, a linear model, plain SGD."""
    settings = {"epochs": 3, "batch_size": 20, "optimizer": partial(torch.optim.SGD, lr=0.1)}
    return tiny64(softmax_linear, **{**settings, **recipe}).forgetting(list(forget))


def constant(**recipe) -> Problem:
    """The same with gradients that do not depend on the weights."""
    return replace(question(**recipe), task=Linear(3))


def forgot(name, problem, **settings):
    """What a method makes of the originals, and the naive retraining."""
    told = History(problem, IDS, 3)
    models, _ = train(problem, "original", IDS, seed=3)
    result = method(name, **settings)(problem, models, MethodInputs(history=told), seed=0)
    return result.models, told.without(problem.forget), models


def error(made, truth) -> float:
    a, b = weights(made), weights(truth)
    return float(sum((a[n] - b[n]).square().sum() for n in a).sqrt())


def whole_batch(problem) -> Problem:
    """To forget the second batch of a training whose members share one order."""
    told = History(problem, IDS, 3)
    return problem.forgetting(told.plan[0, 1].tolist())


# ---- single-gradient


@pytest.mark.parametrize("forget", [[5], list(range(0, 40)), [0, 20, 59]])
def test_the_single_gradient_is_exact_after_one_step(forget):
    for build in (softmax_linear, mlp64):
        problem = replace(
            question(forget),
            recipe=replace(question().recipe, build=build, epochs=1, batch_size=ROWS),
        )
        made, truth, models = forgot("single-gradient", problem)
        assert error(made, truth) < 1e-13 < 1e-3 < error(models, truth)


@pytest.mark.parametrize("schedule", [lambda progress: 1.0, cosine], ids=["constant", "cosine"])
def test_the_single_gradient_is_exact_where_gradients_do_not_depend_on_the_weights(schedule):
    problem = constant(epochs=7, schedule=schedule)
    made, truth, models = forgot("single-gradient", problem)
    assert error(made, truth) < 1e-12 < 1e-2 < error(models, truth)


def test_its_error_is_of_second_order_in_the_learning_rate():
    """A first-order method with a wrong factor or a missing term would have slope 1."""
    errors = []
    for lr in (0.02, 0.01, 0.005, 0.0025):
        problem = question(optimizer=partial(torch.optim.SGD, lr=lr))
        made, truth, _ = forgot("single-gradient", problem)
        errors.append(error(made, truth))
    slopes = [float(torch.tensor(a / b).log2()) for a, b in zip(errors, errors[1:], strict=False)]
    assert all(1.9 < slope < 2.1 for slope in slopes), slopes


def test_parameters_with_rates_of_their_own_are_each_moved_by_theirs():
    def optimizer(named):
        (first, *others) = [p for _, p in named]
        return torch.optim.SGD([{"params": [first], "lr": 0.7}, {"params": others}], lr=0.1)

    recipe = replace(question().recipe, build=mlp64, epochs=1, batch_size=ROWS, optimizer=optimizer)
    made, truth, _ = forgot("single-gradient", replace(question(), recipe=recipe))
    assert error(made, truth) < 1e-13


def test_with_the_penalty_of_the_recipe_it_is_exact_after_one_step_too():
    def penalty(outputs, batch):
        return 0.3 * outputs.square().sum(-1)

    recipe = replace(question().recipe, epochs=1, batch_size=ROWS, penalty=penalty, l2=0.2)
    made, truth, _ = forgot("single-gradient", replace(question(), recipe=recipe))
    assert error(made, truth) < 1e-13


def test_two_requests_are_one():
    """All gradients are taken at the beginning, so the order of requests does not matter."""
    problem = question((3, 7, 11, 40))
    told = History(replace(problem, forget=problem.forget[:0]), IDS, 3)
    models, _ = train(problem, "original", IDS, seed=3)
    forgets = partial(method("single-gradient"), inputs=MethodInputs(history=told), seed=0)
    once = forgets(problem, models).models
    half = forgets(problem.forgetting([3, 11]), models).models
    later = problem.without(torch.tensor([3, 11])).forgetting([7, 40])
    assert error(forgets(later, half).models, once) < 1e-13


@pytest.mark.parametrize("name", ["single-gradient", "amnesiac"])
def test_a_longer_step_goes_farther(name):
    problem = question()
    half, one = (forgot(name, problem, alpha=a) for a in (0.5, 1.0))
    moved = [weights(made)["weight"] - weights(models)["weight"] for made, _, models in (half, one)]
    assert torch.allclose(2 * moved[0], moved[1], atol=1e-14)
    assert moved[1].abs().max() > 1e-3


# ---- amnesiac


def test_amnesiac_takes_the_last_step_back_to_the_last_bit():
    """In float32, any model: the rows of the last step of a single epoch."""
    problem = tiny(epochs=1)
    told = History(problem, (0,), 3)
    asked = problem.forgetting(told.plan[0, -1].tolist())
    models, _ = train(problem, "original", (0,), seed=3)
    before = {}

    def look(step, models):
        before[step] = weights(models)

    told.without(torch.empty(0, dtype=torch.int64), watch=look)
    made = method("amnesiac")(asked, models, MethodInputs(history=told), seed=0).models
    assert same_bits(weights(made), before[told.steps - 1])


def test_amnesiac_is_exact_for_whole_batches_where_gradients_do_not_depend_on_the_weights():
    problem = whole_batch(constant(reshuffle=False, epochs=5))
    told = History(problem, (0,), 3)
    models, _ = train(problem, "original", (0,), seed=3)
    made = method("amnesiac")(problem, models, MethodInputs(history=told), seed=0).models
    assert error(made, told.without(problem.forget)) < 1e-12
    assert error(models, told.without(problem.forget)) > 1e-2


def test_amnesiac_takes_back_what_else_lay_in_the_batches():
    """One row in each of three epochs: three of nine steps are gone, and other rows with them."""
    problem = constant().forgetting([5])
    made, truth, models = forgot("amnesiac", problem)
    assert error(made, truth) > 1e-2
    told = History(problem, IDS, 3)
    held = torch.isin(told.plan, problem.forget)
    assert held.any(-1).sum(-1).tolist() == [3, 3]
    data = problem.train
    for k in range(2):
        others = torch.cat([batch for batch in told.plan[k][held[k].any(-1)]])
        truth = torch.nn.functional.one_hot(data.targets[others], 3).double()
        step = 0.1 / 20 * truth.T @ data.inputs[others]
        now, was = weights(made)["weight"][k], weights(models)["weight"][k]
        assert torch.allclose(was - now, step, atol=1e-12)


@pytest.mark.parametrize("name", ["single-gradient", "amnesiac"])
def test_rows_that_no_step_held_change_nothing_and_it_is_said_why(name):
    problem = question(epochs=1, batch_size=50)  # ten rows are in no batch
    told = History(problem, (0,), 3)
    unread = sorted({*range(ROWS)} - {*told.plan.flatten().tolist()})
    models, _ = train(problem, "original", (0,), seed=3)
    asked = problem.forgetting(unread[:2])
    result = method(name)(asked, models, MethodInputs(history=told), seed=0)
    assert result.changed == 0.0
    assert result.reason.startswith("no step of the training held a forgotten row")


def test_a_second_amnesiac_request_does_not_take_a_step_back_twice():
    problem = question((3, 7, 11, 40), epochs=1, batch_size=10)
    told = History(replace(problem, forget=problem.forget[:0]), IDS, 3)
    models, _ = train(problem, "original", IDS, seed=3)
    forgets = partial(method("amnesiac"), inputs=MethodInputs(history=told), seed=0)
    once = forgets(problem, models).models
    half = forgets(problem.forgetting([3, 11]), models).models
    later = problem.without(torch.tensor([3, 11])).forgetting([7, 40])
    assert error(forgets(later, half).models, once) < 1e-13


def test_momentum_is_a_warning():
    recipe = replace(question().recipe, optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9))
    with pytest.warns(UserWarning, match=r"assumes plain SGD.*momentum 0\.9"):
        forgot("single-gradient", replace(question(), recipe=recipe))


def test_groups_come_out_as_each_alone():
    problem = tiny64()
    models, _ = train(problem, "original", (0, 1, 2), seed=3)
    for name in ("single-gradient", "amnesiac"):
        ends = [
            method(name)(
                problem,
                models,
                MethodInputs(history=History(problem, (0, 1, 2), 3, group=g)),
                seed=0,
            )
            for g in (1, 3)
        ]
        assert error(*(end.models for end in ends)) < 1e-12


def test_a_recipe_is_what_the_rows_were_read_by():
    """Members read other batches, so each is moved by its own share."""
    problem = Problem(
        Classification(3),
        blobs(ROWS, 1, torch.float64),
        blobs(30, 2, torch.float64),
        recipe=Recipe(softmax_linear, 1, 7, partial(torch.optim.SGD, lr=0.1)),
    )
    told = History(problem, IDS, 3)
    unread = [sorted({*range(ROWS)} - {*plan.flatten().tolist()}) for plan in told.plan]
    asked = problem.forgetting(unread[0])  # member 0 read none of them in its one epoch
    models, _ = train(problem, "original", IDS, seed=3)
    made = method("single-gradient")(asked, models, MethodInputs(history=told), seed=0).models
    moved = (weights(made)["weight"] - weights(models)["weight"]).abs().amax((1, 2))
    assert moved[0] == 0 < moved[1]
