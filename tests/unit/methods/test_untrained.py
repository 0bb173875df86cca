"""untrained(): a model as it is before any training."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.contract.problems import Tied, batchnorm, mlp, tiny
from expunge.errors import BadInput
from expunge.rng import seeded
from expunge.training.from_recipe import untrained


def state(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in two)


def trained(build=batchnorm, **kwargs):
    """A model whose every number is 7."""
    with seeded(0):
        module = build(**kwargs)
    with torch.no_grad():
        for t in module.state_dict().values():
            t.fill_(7)
    return module


def trainer(data, rows, *, seed, device):
    raise AssertionError("an untrained model trains nothing")


def test_by_a_recipe_it_is_what_the_recipe_builds_from_this_seed():
    problem = tiny(batchnorm)
    for seed in (0, 5):
        with seeded(seed):
            built = batchnorm()
        assert same(state(untrained(problem, trained(), seed)), state(built))
    assert not same(state(untrained(problem, trained(), 1)), state(built))


@pytest.mark.parametrize("recipe", [None, trainer], ids=["no recipe", "Trainer"])
def test_without_a_recipe_every_layer_is_reset_in_order(recipe):
    problem, template = replace(tiny(batchnorm), recipe=recipe), trained()
    template.eval()
    before = state(template)
    made = untrained(problem, template, 5)
    with seeded(5):
        first, norm, last = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
    for place, layer in ((0, first), (1, norm), (3, last)):
        assert same(state(made[place]), state(layer))
    assert same(state(template), before)  # a copy
    assert not same(state(untrained(problem, template, 6)), state(made))


def test_a_tied_layer_stays_tied():
    made = untrained(replace(tiny(mlp), recipe=None), trained(Tied), 0)
    assert made.second.weight is made.first.weight
    assert (made.first.weight != 7).all()


class Scaled(nn.Module):
    """With a parameter of its own beside a layer."""

    def __init__(self, shape):
        super().__init__()
        self.layer, self.scale = nn.Linear(6, 3), nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return self.layer(x) * self.scale


def test_a_matrix_that_nothing_draws_again_is_refused():
    problem = replace(tiny(), recipe=None)
    with pytest.raises(
        BadInput, match=r"'scale' cannot be drawn again.*reset_parameters.*Recipe\(build="
    ):
        untrained(problem, trained(Scaled, shape=(1, 3)), 0)


def test_a_vector_may_stay_as_norms_reset_to_what_they_may_have_been():
    made = untrained(replace(tiny(), recipe=None), trained(Scaled, shape=(3,)), 0)
    assert (made.scale == 7).all()
    assert (made.layer.weight != 7).all()
