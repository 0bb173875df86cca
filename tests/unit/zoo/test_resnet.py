"""The residual networks: their sizes, shapes, and that groups can run them."""

import pytest
import torch

from expunge.contract.problems import generator
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.problem import Classification
from expunge.rng import seeded
from expunge.zoo.resnet import Block, resnet9, resnet18

X = torch.rand(4, 3, 32, 32, generator=generator(0))
WEIGHTS = {resnet9: 2_274_880, resnet18: 11_173_962}
BUILDS = list(WEIGHTS)


def made(build, seed=0):
    with seeded(seed):
        return build()


@pytest.mark.parametrize("build", BUILDS)
def test_the_number_of_weights_is_the_published_one(build):
    assert sum(p.numel() for p in made(build).parameters()) == WEIGHTS[build]


@pytest.mark.parametrize(
    ("build", "layers", "shape"), [(resnet9, 7, (4, 128, 6, 6)), (resnet18, 11, (4, 512, 4, 4))]
)
def test_features_before_the_head_have_the_published_shape(build, layers, shape):
    with torch.no_grad():
        features = made(build)[:layers](X)
    assert tuple(features.shape) == shape


def test_the_head_of_resnet9_is_a_fifth_of_a_linear_map_of_the_largest_feature():
    model = made(resnet9).eval()
    with torch.no_grad():
        largest = model[:7](X).flatten(2).max(-1).values
        torch.testing.assert_close(model(X), 0.2 * largest @ model[8].weight.T)


def test_the_head_of_resnet18_is_a_linear_map_of_the_mean_feature():
    model = made(resnet18).eval()
    with torch.no_grad():
        features = model[:11](X).flatten(2).mean(-1)
        torch.testing.assert_close(model(X), model[-1](features))


def test_residual_layers_add_their_input():
    """With the last scale of each body at zero nothing but the input is left."""
    x = torch.rand(2, 128, 8, 8, generator=generator(1))
    residual = made(resnet9)[2]
    torch.nn.init.zeros_(residual[1][1].weight)
    block = made(lambda: Block(128, 128, 1))
    torch.nn.init.zeros_(block.body[4].weight)
    assert torch.equal(residual(x), x)
    assert torch.equal(block(x), x)  # not negative, so ReLU changes nothing
    assert torch.equal(block(-x), torch.zeros_like(x))


@pytest.mark.parametrize("build", BUILDS)
def test_a_group_gives_what_its_members_give_alone(build):
    modules = [made(build, seed).eval() for seed in (0, 1)]
    data, rows = TensorData(X, torch.zeros(4, dtype=torch.int64)), torch.arange(4)
    task = Classification(10)
    group = Ensemble.stack(modules, (0, 1), group=2).outputs(task, data, rows)
    for k, module in enumerate(modules):
        alone = Ensemble.of(module).outputs(task, data, rows)[0]
        torch.testing.assert_close(group[k], alone, atol=1e-4, rtol=1e-4)
