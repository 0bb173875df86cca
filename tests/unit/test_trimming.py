"""A trimmed step does less and gives the same bits; what is still read is not overwritten."""

import copy

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from expunge.rng import seeded
from expunge.trimming import trimmed

aten = torch.ops.aten


def both(function, *given):
    """What a trace and its trimmed twin give, and the targets of the twin's operations."""
    plain = make_fx(function)(*given)
    twin = trimmed(copy.deepcopy(plain))
    found = [graph(*(t.clone() for t in given)) for graph in (plain, twin)]
    return *found, [n.target for n in twin.graph.nodes if n.op == "call_function"]


def tensors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def test_the_gradient_of_a_perceptron_has_the_same_bits_from_fewer_operations():
    with seeded(0):
        net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    names = [name for name, _ in net.named_parameters()]
    stacked = [torch.stack([p, 2 * p]).detach() for p in net.parameters()]

    def gradient(x, *weights):
        own = [w.detach().requires_grad_() for w in weights]

        def loss(state, x):
            z = torch.func.functional_call(net, state, (x,))
            return nn.functional.cross_entropy(z, torch.zeros(4, dtype=torch.int64))

        losses = torch.func.vmap(loss)(dict(zip(names, own, strict=True)), x)
        return torch.autograd.grad(losses.sum(), own)

    (x,) = tensors((2, 4, 5))
    with torch.enable_grad():
        plain = make_fx(gradient)(x, *stacked)
    twin = trimmed(copy.deepcopy(plain))
    before = [t.clone() for t in (x, *stacked)]
    found = [graph(x, *stacked) for graph in (plain, twin)]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, (x, *stacked), strict=True))
    assert len(twin.graph.nodes) < 0.75 * len(plain.graph.nodes)
    targets = {n.target for n in twin.graph.nodes}
    assert targets >= {aten.relu_.default, aten.threshold_backward.grad_input, aten.add_.Tensor}


def test_a_sum_is_written_over_the_product_it_adds_to():
    a, b, targets = both(lambda x, w, c: x.bmm(w) + c, *tensors((2, 3, 4), (2, 4, 5), (2, 1, 5)))
    assert torch.equal(a, b)
    assert targets == [aten.bmm.default, aten.add_.Tensor]


def test_what_is_read_again_is_not_overwritten():
    def function(x, w):
        product = x.bmm(w)
        total = product + 1.5 * product
        return total.relu() * total

    a, b, targets = both(function, *tensors((2, 3, 4), (2, 4, 3)))
    assert torch.equal(a, b)
    assert aten.relu_.default not in targets
    assert targets.count(aten.add_.Tensor) == 1  # over 1.5 times the product


def test_what_a_product_is_returned_as_stays():
    def function(x, w):
        product = x.bmm(w)
        return product, product + 1.0

    a, b, _ = both(function, *tensors((2, 3, 4), (2, 4, 3)))
    assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("function", [lambda x: (x + x).relu(), lambda x: x.relu() + x])
def test_inputs_are_never_written(function):
    (x,) = tensors((3, 4))
    before, twin = x.clone(), trimmed(make_fx(function)(x))
    assert torch.equal(twin(x), function(before))
    assert torch.equal(x, before)


def test_a_copy_of_an_input_stays_a_copy():
    def function(x):
        return torch.ops.aten.mul.Scalar(x, 1)

    (x,) = tensors((3, 4))
    assert trimmed(make_fx(function)(x))(x).data_ptr() != x.data_ptr()


def test_a_sum_wider_than_the_product_has_memory_of_its_own():
    a, b, targets = both(lambda x, w, c: x.bmm(w) + c, *tensors((1, 3, 4), (1, 4, 5), (6, 3, 5)))
    assert torch.equal(a, b)
    assert aten.add_.Tensor not in targets


def test_another_type_or_layout_is_no_idle_step():
    def function(x):
        return x.t().contiguous().view(4, 3) * 1.0 + x.double().t()

    a, b, _ = both(function, *tensors((3, 4)))
    assert a.dtype == torch.float64
    assert torch.equal(a, b)


def test_a_product_with_another_number_than_one_stays():
    def function(x, w):
        return aten.mul.Scalar(x.bmm(w), 2)

    a, b, _ = both(function, *tensors((2, 3, 4), (2, 4, 3)))
    assert torch.equal(a, b)


def test_a_derivative_is_written_over_the_gradient_alone():
    def function(x, w):
        return aten.threshold_backward(x, x.bmm(w), 0)

    a, b, targets = both(function, *tensors((2, 3, 3), (2, 3, 3)))
    assert torch.equal(a, b)
    assert aten.threshold_backward.grad_input not in targets
