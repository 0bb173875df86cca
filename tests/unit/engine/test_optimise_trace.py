"""A trimmed step does less and gives the same bits; what is still read is not overwritten."""

import pytest
import torch
from torch import nn

from expunge.engine.optimise_trace import LARGEST, trimmed
from expunge.engine.trace import traced
from expunge.rng import seeded

aten = torch.ops.aten


def trace(function, *given):
    """The trace of a function of tensors that returns one or several."""

    def several():
        found = function(*given)
        return found if isinstance(found, tuple) else (found,)

    return traced(several, given)[1]


def both(function, *given):
    """What a trace and its trimmed twin give, and the targets of the twin's operations."""
    made = [trace(function, *given), trimmed(trace(function, *given))]
    found = [one.compiled()(*(t.clone() for t in given)) for one in made]
    return *found, [n.target for n in made[1].graph.nodes if n.op == "call_function"]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


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
    plain, twin = trace(gradient, x, *stacked), trimmed(trace(gradient, x, *stacked))
    before = [t.clone() for t in (x, *stacked)]
    assert same(*(one.compiled()(x, *stacked) for one in (plain, twin)))
    assert same(before, (x, *stacked))
    assert len(twin.graph.nodes) < 0.6 * len(plain.graph.nodes)
    targets = {n.target for n in twin.graph.nodes}
    assert targets >= {aten.relu_.default, aten.threshold_backward.grad_input, aten.add_.Tensor}


def test_a_sum_is_written_over_the_product_it_adds_to():
    a, b, targets = both(lambda x, w, c: x.bmm(w) + c, *tensors((2, 3, 4), (2, 4, 5), (2, 1, 5)))
    assert same(a, b)
    assert targets == [aten.bmm.default, aten.add_.Tensor]


def test_a_product_that_is_added_to_itself():
    def function(x, w):
        product = x.bmm(w)
        return product + product

    a, b, _ = both(function, *tensors((2, 3, 4), (2, 4, 5)))
    assert same(a, b)


def test_what_is_read_again_is_not_overwritten():
    def function(x, w):
        product = x.bmm(w)
        total = product + 1.5 * product
        return total.relu() * total

    a, b, targets = both(function, *tensors((2, 3, 4), (2, 4, 3)))
    assert same(a, b)
    assert aten.relu_.default not in targets
    assert targets.count(aten.add_.Tensor) == 1  # over 1.5 times the product


def test_what_a_product_is_returned_as_stays():
    def function(x, w):
        product = x.bmm(w)
        return product, product + 1.0

    a, b, _ = both(function, *tensors((2, 3, 4), (2, 4, 3)))
    assert same(a, b)


@pytest.mark.parametrize("function", [lambda x: (x + x).relu(), lambda x: x.relu() + x])
def test_inputs_are_never_written(function):
    (x,) = tensors((3, 4))
    before, twin = x.clone(), trimmed(trace(function, x)).compiled()
    assert same(twin(x), [function(before)])
    assert torch.equal(x, before)


def test_a_copy_of_an_input_stays_a_copy():
    def function(x):
        return torch.ops.aten.mul.Scalar(x, 1)

    (x,) = tensors((3, 4))
    (found,) = trimmed(trace(function, x)).compiled()(x)
    assert found.data_ptr() != x.data_ptr()


def test_a_sum_wider_than_the_product_has_memory_of_its_own():
    a, b, targets = both(lambda x, w, c: x.bmm(w) + c, *tensors((1, 3, 4), (1, 4, 5), (6, 3, 5)))
    assert same(a, b)
    assert aten.add_.Tensor not in targets


def test_another_type_or_layout_is_no_idle_step():
    def function(x):
        return x.t().contiguous().view(4, 3) * 1.0 + x.double().t()

    a, b, _ = both(function, *tensors((3, 4)))
    assert a[0].dtype == torch.float64
    assert same(a, b)


def test_a_product_with_another_number_than_one_stays():
    def function(x, w):
        return aten.mul.Scalar(x.bmm(w), 2)

    a, b, _ = both(function, *tensors((2, 3, 4), (2, 4, 3)))
    assert same(a, b)


def test_a_derivative_is_written_over_the_gradient_alone():
    def function(x, w):
        return aten.threshold_backward(x, x.bmm(w), 0)

    a, b, targets = both(function, *tensors((2, 3, 3), (2, 3, 3)))
    assert same(a, b)
    assert aten.threshold_backward.grad_input not in targets


# ---- copies of inputs


def test_a_copy_that_is_only_read_is_spared():
    def function(x, w):
        return torch.ops.aten.mul.Scalar(x, 1).view(3, 1, 4) + w

    a, b, targets = both(function, *tensors((3, 4), (3, 2, 4)))
    assert same(a, b)
    assert aten.mul.Scalar not in targets


def test_a_copy_that_is_written_to_or_returned_through_a_view_stays():
    def written(x):
        copy = torch.ops.aten.mul.Scalar(x, 1)
        copy.view(12).add_(1)
        return copy * x

    def returned(x):
        return torch.ops.aten.mul.Scalar(x, 1).view(12)

    for function in (written, returned):
        (x,) = tensors((3, 4))
        before, twin = x.clone(), trimmed(trace(function, x)).compiled()
        (found,) = twin(x)
        assert torch.equal(found, function(before))
        found.add_(1)
        assert torch.equal(x, before)


# ---- what is the same at every step


def repeats(function, shape):
    """Whether a trimmed twin gives at its first and second call what the function does."""
    (x,) = tensors(shape)
    twin = trimmed(trace(function, x)).compiled()
    return all(same(twin(x), [function(x)]) for _ in range(2))


def test_constants_are_made_once():
    def function(x):
        zeros = torch.zeros_like(x)
        third = torch.ones_like(x.sum()).expand(4) / 3
        return x + zeros.scatter_add(1, torch.zeros(3, 1, dtype=torch.int64), x) * third

    a, b, targets = both(function, *tensors((3, 4)))
    assert same(a, b)
    assert targets == [aten.scatter_add.default, aten.mul.Tensor, aten.add_.Tensor]


def test_a_constant_that_is_written_to_is_made_anew():
    def function(x):
        total = torch.zeros_like(x)
        total.view(12).add_(x.view(12))
        return total.relu()

    assert repeats(function, (3, 4))


def test_a_constant_that_is_written_to_through_one_of_its_parts_is_made_anew():
    def function(x):
        total = torch.zeros_like(x)
        for part, own in zip(total.chunk(2), x.chunk(2), strict=True):
            part.add_(own)
        return total.relu()

    assert repeats(function, (4, 4))


def test_statistics_that_batch_norm_writes_into_are_made_anew():
    def function(x):
        mean, variance = x.new_zeros(4), x.new_ones(4)
        z = torch.native_batch_norm(x, None, None, mean, variance, True, 0.1, 1e-5)[0]
        return z + mean + variance

    assert repeats(function, (3, 4))


def test_draws_are_no_constants():
    def function(x):
        return x + torch.rand_like(torch.zeros_like(x)) + torch.bernoulli(torch.full((4,), 0.5))

    (x,) = tensors((3, 4))
    with seeded(0):
        twin = trimmed(trace(function, x)).compiled()
    for seed in (1, 2):
        with seeded(seed):
            expected = function(x)
        with seeded(seed):
            assert same(twin(x), [expected])


@pytest.mark.parametrize(("rows", "kept"), [(LARGEST // 4, True), (LARGEST // 4 + 1, False)])
def test_large_constants_are_made_anew(rows, kept):
    _, _, targets = both(lambda x: x - torch.zeros_like(x), *tensors((rows, 4)))
    assert (aten.zeros_like.default not in targets) == kept


# ---- writing over inputs


@pytest.mark.parametrize("name", ["sub", "mul", "div"])
def test_only_the_first_argument_is_written_over(name):
    function = getattr(torch, name)
    over = getattr(aten, f"{name}_").Tensor
    given = tensors((2, 3, 4), (2, 4, 5), (2, 3, 5))
    a, b, targets = both(lambda x, w, c: function(x.bmm(w), c), *given)
    assert same(a, b)
    assert targets == [aten.bmm.default, over]
    a, b, targets = both(lambda x, w, c: function(c, x.bmm(w)), *given)
    assert same(a, b)
    assert over not in targets


def test_a_sum_of_two_products_counts_one_as_often_as_told():
    given = tensors((2, 3, 4), (2, 4, 5), (2, 3, 5))
    a, b, targets = both(lambda x, w, c: torch.add(c, x.bmm(w), alpha=2), *given)
    assert same(a, b)
    assert aten.add_.Tensor not in targets
