"""Layers: which are found, and that inputs times slopes are the gradients of autograd."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from expunge.contract.problems import Tied, generator, half_frozen
from expunge.curvature.layers import layers, recorded
from expunge.rng import seeded


@pytest.fixture(autouse=True)
def _seeded():
    """Layers draw their weights from global generators, which are put back."""
    with seeded(0):
        yield


def named(module: nn.Module) -> dict[str, tuple[str, ...]]:
    return {layer.name: layer.parameters for layer in layers(module)}


# ---- which


def test_linear_layers_and_convolutions_are_found_with_what_may_move():
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3, bias=False)
    )
    net.append(nn.Linear(3, 3))
    net[4].bias.requires_grad_(False)
    net.append(nn.Linear(3, 3))
    net[5].weight.requires_grad_(False)
    assert named(net) == {
        "0": ("0.weight", "0.bias"),
        "3": ("3.weight",),
        "4": ("4.weight",),  # the bias is frozen; of the last layer the weight is
    }
    assert named(nn.Linear(2, 2)) == {"": ("weight", "bias")}
    assert named(half_frozen()) == {"2": ("2.weight", "2.bias")}


@pytest.mark.parametrize(
    "settings",
    [{"groups": 2}, {"padding_mode": "circular", "padding": 1}, {"padding": "same"}],
    ids=lambda settings: next(iter(settings)),
)
def test_convolutions_that_are_no_plain_matrix_product_are_left_out(settings):
    assert named(nn.Sequential(nn.Conv2d(2, 2, 3, **settings))) == {}


def test_shared_weights_are_left_out():
    assert named(Tied()) == {"head": ("head.weight", "head.bias")}
    layer = nn.Linear(2, 2)
    assert named(nn.ModuleDict({"a": layer, "b": layer})) == {}
    net = nn.ModuleList([nn.Embedding(5, 2), nn.Linear(2, 5)])
    net[1].weight = net[0].weight
    assert named(net) == {}


def test_a_weight_that_is_computed_from_others_is_left_out():
    net = nn.Sequential(nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    assert named(net) == {"0": ("0.weight", "0.bias")}


# ---- the matrix


class Twice(nn.Module):
    """One layer, called twice in a forward pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


def conv(bias: bool = True, **settings) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, (3, 2), bias=bias, **settings), nn.Tanh(), nn.Flatten())


CASES = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "linear without bias": (lambda: nn.Linear(4, 3, bias=False), (4,)),
    "linear over a sequence": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Flatten()), (5, 4)),
    "linear over a grid": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Flatten()), (2, 5, 4)),
    "two layers": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), (4,)),
    "called twice": (Twice, (4,)),
    "convolution": (conv, (2, 6, 5)),
    "convolution without bias": (partial(conv, bias=False), (2, 6, 5)),
    "convolution, padded and strided": (partial(conv, padding=(1, 2), stride=(2, 1)), (2, 6, 5)),
    "convolution, dilated": (partial(conv, dilation=(2, 1)), (2, 6, 5)),
    "relu in place": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)),
        (4,),
    ),
}


def case(name: str) -> tuple[nn.Module, torch.Tensor]:
    build, shape = CASES[name]
    module = build().double()
    return module, torch.randn(6, *shape, generator=generator(1), dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_inputs_times_slopes_are_the_gradients_of_rows(name):
    module, x = case(name)
    weights = dict(module.named_parameters())
    u = torch.randn(module(x).shape, generator=generator(2), dtype=torch.float64)

    def along(weights, row, u):
        return (functional_call(module, weights, (row[None],))[0] * u).sum()

    expected = vmap(grad(along), in_dims=(None, 0, 0))(weights, x, u)
    with recorded(layers(module)) as seen:
        z = module(x)
    covered = set()
    for layer in layers(module):
        slopes = torch.autograd.grad(z, [out for _, out in seen[layer.name]], u, retain_graph=True)
        pairs = zip(seen[layer.name], slopes, strict=True)
        found = sum(
            torch.einsum("bto,bta->boa", layer.outputs(slope), layer.inputs(given))
            for (given, _), slope in pairs
        )
        for k in range(len(x)):
            own = layer.matrix({n: g[k] for n, g in expected.items()})
            assert torch.allclose(found[k], own, atol=1e-10)
        covered |= set(layer.parameters)
    assert covered == set(weights)


@pytest.mark.parametrize("name", CASES)
def test_the_matrix_times_the_inputs_is_the_output(name):
    """Whatever writes into the output afterwards (ReLU in place)."""
    module, x = case(name)
    with recorded(layers(module)) as seen, torch.no_grad():
        module(x)
    for layer in layers(module):
        given, out = seen[layer.name][0]
        matrix = layer.matrix(dict(module.named_parameters()))
        assert torch.allclose(layer.outputs(out), layer.inputs(given) @ matrix.T, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_apart_is_the_inverse_of_matrix(name):
    module, _ = case(name)
    weights = {n: w.detach() for n, w in module.named_parameters()}
    for layer in layers(module):
        found = layer.apart(layer.matrix(weights), weights)
        assert layer.matrix(weights).shape == layer.shape
        assert set(found) == set(layer.parameters)
        assert all(torch.equal(found[n], weights[n]) for n in found)


def test_looking_changes_nothing_and_hooks_go_even_after_an_error():
    module, x = case("relu in place")
    plain = module(x)
    with recorded(layers(module)):
        assert torch.equal(module(x), plain)
    with pytest.raises(RuntimeError), recorded(layers(module)):
        module(x[:, :3])
    assert not any(part._forward_hooks for part in module.modules())
