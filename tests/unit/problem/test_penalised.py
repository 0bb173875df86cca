"""Whatever goes on with the training, or takes its derivatives, means the loss with the penalty."""

import pickle
from dataclasses import replace

import pytest
import torch

from expunge.attribution.registry import attributor
from expunge.contract.cases import originals, run, same_bits, weights
from expunge.contract.problems import CLASSES, tiny
from expunge.methods import METHODS
from expunge.problem import Classification
from expunge.problem.penalised import penalised
from expunge.problem.sd_penalty import SDPenalty
from expunge.training.from_recipe import train

PENALTY = SDPenalty(2.0)
OF_ITS_OWN = {  # what a method makes of the loss of a task's subclass, but not of the recipe's
    "boundary-shrink": "looks for the decision boundary by the task's loss",
}
BLIND = {  # whose own loss, or likelihood, takes the place of the training's
    *("dm-direct", "dmm", "oracle-matching", "bad-teacher", "fisher"),
}


class Own(Classification):
    """The same loss, written into the task."""

    def loss(self, outputs, batch):
        return super().loss(outputs, batch) + PENALTY(outputs, batch)


def both_ways():
    """One problem twice: the penalty in the recipe, and in the task."""
    plain = tiny()
    by_task = replace(plain, task=Own(CLASSES))
    return replace(plain, recipe=replace(plain.recipe, penalty=PENALTY)), by_task, plain


@pytest.mark.parametrize("name", METHODS)
def test_methods_mean_the_training_loss(name):
    models = originals(tiny())
    by_recipe, by_task, plain = (
        weights(run(problem, METHODS[name], models).models) for problem in both_ways()
    )
    assert same_bits(by_recipe, by_task) == (name not in OF_ITS_OWN)
    assert same_bits(by_recipe, plain) == (name in BLIND)


@pytest.mark.parametrize("kind", ["linearised", "influence", "ek-fac", "trak"])
def test_attributions_mean_the_training_loss(kind):
    found = []
    for problem in both_ways():
        models, _ = train(problem, "original", [0, 1], seed=0)
        change = attributor(kind, problem.forgetting([]), models, None, 0).without(
            problem.forget, torch.arange(10), "train"
        )
        found.append(change.mean)
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_only_the_loss_is_another():
    task = Classification(CLASSES)
    made = penalised(task, PENALTY)
    assert penalised(task, None) is task
    problem = tiny()
    (batch,) = problem.train.batches([torch.arange(5)])
    z = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(made.loss(z, batch), task.loss(z, batch) + PENALTY(z))
    assert torch.equal(made.margin(z, batch), task.margin(z, batch))
    assert (made.kind, made.classes) == ("classification", CLASSES)
    again = pickle.loads(pickle.dumps(made))
    assert torch.equal(again.loss(z, batch), made.loss(z, batch))
