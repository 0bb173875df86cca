"""Fisher forgetting: mean and variance of every weight, by taking the same normal numbers."""

import pytest
import torch
from torch import Tensor

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    at,
    batchnorm64,
    linear,
    logistic,
    ridge,
    tiny64,
)
from expunge.curvature.fisher import expected_fisher
from expunge.curvature.point import Point
from expunge.engine.ensemble import Ensemble
from expunge.methods import MethodInputs, method
from expunge.methods.edit import sample
from expunge.methods.fisher import emptied_classes
from expunge.rng import Draws, seeded

from .by_hand import model, models, rows_of, start, weight

ALPHA = 1e-5
SEED = 4
NO_MASK = MethodInputs()


def normal(name: str, shape, member: int = 0) -> Tensor:
    """The standard normal numbers that a member's noise is made of."""
    draws = Draws((SEED, "unlearn", "fisher")).of([member])
    return draws.at("noise", name).normal(shape)[0].double()


def forgotten(problem, made, inputs=NO_MASK, **settings):
    return method("fisher", alpha=ALPHA, **settings)(problem, made, inputs, seed=SEED).models


def linear_variance(problem, theta: Tensor, rows=None) -> Tensor:
    """(C, FEATURES), of a linear model, which is its own last layer: I = mean p (1 - p) x^2."""
    x, _ = rows_of(problem, problem.retain if rows is None else rows)
    p = (x @ theta.T).softmax(1)
    information = (p * (1 - p)).T @ x.square() / len(x)
    inverse = (1 / (information + 1e-8)).clamp_max(100)
    assert (inverse == 100).any()  # so that the bound is seen
    assert (inverse < 100).any()
    return (10 * ALPHA * inverse.mean(1, keepdim=True)).expand_as(theta)


def test_the_noise_of_a_linear_model_by_hand():
    problem, theta = logistic(), 3 * start()  # sure of itself, so that information is small
    found = weight(forgotten(problem, model(theta)))
    noise = linear_variance(problem, theta).sqrt() * normal("weight", theta.shape)
    assert (found - theta - noise).abs().max() < 1e-10
    assert noise.abs().max() > 1e-3


def test_information_is_of_the_retained_rows_or_of_some_of_them():
    problem, theta = logistic(), 3 * start()
    rows = sample(problem.retain, 15, Draws((SEED, "unlearn", "fisher")).of([0]))
    found = weight(forgotten(problem, model(theta), samples=15))
    noise = linear_variance(problem, theta, rows).sqrt() * normal("weight", theta.shape)
    assert (found - theta - noise).abs().max() < 1e-10
    whole = linear_variance(problem, theta, problem.present_rows)
    assert ((whole / linear_variance(problem, theta)) - 1).abs().max() > 0.01


def network():
    """One hidden unit is dead, so that some weights of every layer matter not at all."""
    with seeded(0):
        net = batchnorm64()
    with torch.no_grad():
        net[1].bias[0] = -100.0
    return net


def test_every_layer_has_the_variance_of_its_kind():
    problem, net = tiny64(batchnorm64), network()
    found = forgotten(problem, Ensemble.of(net)).tensors()
    information = expected_fisher(Point(problem.task, problem.train, net), problem.retain)
    inverse = {name: 1 / (i + 1e-8) for name, i in information.items()}
    assert all((i == 0).any() for name, i in information.items() if name != "3.bias")

    variance = {  # inputs of a unit share theirs; the last layer is bounded lower
        "0.weight": inverse["0.weight"].clamp_max(1000).mean(1, keepdim=True),
        "0.bias": inverse["0.bias"].clamp_max(1000) * 10,
        "1.weight": inverse["1.weight"].clamp_max(1000) * 10,
        "1.bias": inverse["1.bias"].clamp_max(1000) * 10,
        "3.weight": inverse["3.weight"].clamp_max(100).mean(1, keepdim=True) * 10,
        "3.bias": inverse["3.bias"].clamp_max(100) * 10,
    }
    for name, before in net.named_parameters():
        noise = (ALPHA * variance[name]).sqrt() * normal(name, before.shape)
        assert (found[name][0] - before.detach() - noise).abs().max() < 1e-9, name


def test_pieces_of_many_rows_have_other_information():
    """The published variant, on another scale; the estimate itself is tested with curvature."""
    problem, theta = logistic(), start()
    point = Point(problem.task, problem.train, model(theta).template)
    inverse = 1 / (expected_fisher(point, problem.retain, 8)["weight"] + 1e-8)
    variance = 10 * ALPHA * inverse.clamp_max(100).mean(1, keepdim=True)
    found = weight(forgotten(problem, model(theta), together=8))
    noise = variance.sqrt() * normal("weight", theta.shape)
    assert (found - theta - noise).abs().max() < 1e-10
    alone = weight(forgotten(problem, model(theta)))
    assert ((alone - theta) / noise - 1).abs().min() > 0.1


def test_a_regression_has_no_last_layer():
    problem, theta = ridge(), torch.ones(1, FEATURES).double()
    information = problem.train.inputs[problem.retain].square().mean(0)
    variance = ALPHA * (1 / (information + 1e-8)).clamp_max(1000).mean()
    found = weight(forgotten(problem, at(theta, linear)))
    noise = variance.sqrt() * normal("weight", theta.shape)
    assert (found - theta - noise).abs().max() < 1e-10


@pytest.mark.parametrize("whole", [False, True])
def test_a_class_of_which_nothing_is_retained_is_drawn_around_zero(whole):
    problem, theta = logistic(), 3 * start()
    gone = (problem.train.targets == 1).nonzero().squeeze(1)
    problem = problem.forgetting(gone if whole else gone[1:])
    assert emptied_classes(problem).tolist() == ([1] if whole else [])
    found = weight(forgotten(problem, model(theta)))
    draws = normal("weight", theta.shape)
    wanted = theta + linear_variance(problem, theta).sqrt() * draws
    if whole:
        wanted[1] = 1e-4**0.5 * draws[1]
    assert (found - wanted).abs().max() < 1e-10


def test_a_class_that_is_gone_is_gone_from_the_bias_too():
    problem, net = tiny64(batchnorm64), network()
    problem = problem.forgetting(problem.train.targets == 2)
    found = forgotten(problem, Ensemble.of(net)).tensors()
    assert torch.allclose(found["3.bias"][0, 2], 0.01 * normal("3.bias", (CLASSES,))[2])
    assert torch.allclose(found["3.weight"][0, 2], 0.01 * normal("3.weight", (CLASSES, 8))[2])
    lower = 0.01 * normal("0.weight", (8, FEATURES))[2]  # only the last layer has classes
    assert (found["0.weight"][0, 2] - lower).abs().max() > 0.1


def test_a_regression_has_no_classes_that_are_gone():
    assert len(emptied_classes(ridge())) == 0


def test_every_member_has_noise_of_its_own():
    problem, theta = logistic(), 3 * start()
    found = forgotten(problem, models([theta] * 3, group=2))
    scale = linear_variance(problem, theta).sqrt()
    for k in range(3):
        noise = scale * normal("weight", theta.shape, member=k)
        assert (weight(found, k) - theta - noise).abs().max() < 1e-10


def test_the_noise_over_many_members_has_mean_zero_and_the_variance_of_the_formula():
    """200 members: |mean| within 5 sd / sqrt(200), variance within 5 sqrt(2 / 200) = 50%."""
    problem, theta = logistic(), 3 * start()
    found = forgotten(problem, models([theta] * 200, group=1)).tensors()["weight"]
    z = (found - theta) / linear_variance(problem, theta).sqrt()
    assert z.mean(0).abs().max() < 5 / 200**0.5
    assert (z.square().mean(0) - 1).abs().max() < 5 * (2 / 200) ** 0.5


def test_masked_weights_keep_their_bits():
    problem, theta = logistic(), start()
    free = torch.zeros(CLASSES, FEATURES, dtype=torch.bool)
    free[1:, ::2] = True
    whole = weight(forgotten(problem, model(theta)))
    found = weight(forgotten(problem, model(theta), MethodInputs(mask={"weight": free})))
    assert torch.equal(found, torch.where(free, whole, theta))
