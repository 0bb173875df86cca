"""l1-sparse: steps on one weight in numbers, the schedule of the penalty, every weight."""

from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.problems import batchnorm64, logistic, tiny64
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import method
from expunge.problem import Problem, Recipe, Regression
from expunge.rng import seeded

from .by_hand import WHOLE, Watching, descended, model, pull, rows_of, start, weight


def one_weight() -> nn.Module:
    return nn.Linear(1, 1, bias=False).double()


def test_two_steps_on_one_weight_in_numbers():
    """Retained rows (x, y) = (1, 1) and (2, 3): the gradient of the loss is 2.5 w - 3.5.

    With w = 2, lr 0.1, gamma 0.4, l2 0.5 and a penalty that is half as large in the second epoch:
    v = 1.5 + 1.0 + 0.4 = 2.9, w = 1.71; v = 0.9 x 2.9 + 0.775 + 0.855 + 0.2 = 4.44, w = 1.266.
    """
    x, y = torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([1.0, 3.0, 9.0])
    data = TensorData(x.double(), y.double())
    recipe = Recipe(one_weight, 1, 3, partial(torch.optim.SGD, lr=0.1), l2=0.5)
    problem = Problem(Regression(), data, data, recipe=recipe).forgetting([2])
    for sign in (1.0, -1.0):  # of everything, so that the penalty changes its sign as well
        mirrored = TensorData(sign * data.inputs, data.targets)
        problem = Problem(Regression(), mirrored, data, recipe=recipe).forgetting([2])
        made = model(torch.tensor([[2.0 * sign]]).double())
        chosen = method("l1-sparse", epochs=2, lr=0.1, gamma=0.4)
        result = chosen(problem, made, seed=0)
        assert float(weight(result.models)) == pytest.approx(1.266 * sign, abs=1e-12)


def test_the_penalty_falls_in_a_line_and_stays_at_zero():
    chosen = method("l1-sparse", epochs=5, free_epochs=2, gamma=0.6)
    wanted = [0.6, 0.4, 0.2, 0.0, 0.0]
    for a_pass in (1, 3):
        steps = 5 * a_pass
        found = [chosen.weight(step / steps) for step in range(steps)]
        assert found == pytest.approx([g for g in wanted for _ in range(a_pass)], abs=1e-15)


def test_the_penalty_is_the_same_throughout_an_epoch_whatever_their_number():
    """Progress is a fraction, so that a first step might be rounded into the epoch before."""
    for epochs in (1, 3, 7, 11, 49):
        for a_pass in (1, 3, 7, 29, 211):
            chosen, steps = method("l1-sparse", epochs=epochs, gamma=1.0), epochs * a_pass
            for step in range(steps):
                wanted = 1 - (step // a_pass) / epochs
                assert chosen.weight(step / steps) == pytest.approx(wanted, abs=1e-12)


def test_every_epoch_of_a_linear_model_by_hand():
    """Four epochs, the last without the penalty; the recipe's l2 is kept."""
    problem, theta = logistic(), start()
    x, y = rows_of(problem, problem.retain)

    def slope(t, gamma):
        return pull(t, x, y) + problem.recipe.l2 * t + gamma * t.sign()

    slopes = [partial(slope, gamma=0.3 * share) for share in (1, 2 / 3, 1 / 3, 0)]
    chosen = method(
        "l1-sparse", epochs=4, free_epochs=1, gamma=0.3, lr=0.05, batch_size=WHOLE["batch_size"]
    )
    found = weight(chosen(problem, model(theta), seed=0).models)
    assert (found - descended(theta, 0.05, slopes)).abs().max() < 1e-12


def test_every_weight_is_penalised_biases_and_batch_norm_included():
    problem, slopes = tiny64(batchnorm64), []
    for gamma in (0.0, 0.25):
        with seeded(0):
            net = batchnorm64()
        with torch.no_grad():
            net[1].bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
        look = Watching()
        method("l1-sparse", epochs=1, gamma=gamma)(problem, Ensemble.of(net), look.inputs, seed=0)
        slopes.append(look.gradients[0])
    without, penalised = slopes
    for name, w in net.named_parameters():
        wanted = 0.25 * w.detach().sign()
        assert (penalised[name] - without[name] - wanted).abs().max() < 1e-12, name
    assert {float(s) for s in net[1].bias.detach().sign()} == {-1.0, 1.0}


def test_more_free_epochs_than_epochs_are_refused():
    with pytest.raises(BadInput, match="l1-sparse with 5 of 5 epochs free.*use fine-tune"):
        method("l1-sparse", epochs=5, free_epochs=5)
