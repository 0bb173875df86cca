"""A trace does to other tensors what the function did; what it cannot do is not written down."""

import numpy as np
import pytest
import torch
from torch import nn

from expunge.contract.problems import generator
from expunge.engine.trace import traced

SPARSE, COUNTER = torch.eye(4).to_sparse(), torch.zeros(())


def trace(function, *given):
    return traced(lambda: (function(*given),), given)[1]


def same_elsewhere(function, one, other):
    """The trace made at one tensor gives at another what the function does."""
    made = trace(function, one)
    assert made is not None
    expected = function(other.clone())
    (found,) = made.compiled()(other)
    return torch.equal(found, expected)


def numbers(seed, *shape):
    return torch.randn(*shape, generator=generator(seed))


FUNCTIONS = {
    "views": lambda x: x.t().reshape(-1)[2:].view(2, 5) + 1,
    "several results": lambda x: x.max(dim=1).values + x.max(dim=1).indices,
    "lists": lambda x: torch.cat([*x.split(1), x.unbind()[0][None]]),
    "in place": lambda x: x.mul_(2).t().add_(1).relu(),
    "rows by number": lambda x: x[torch.tensor([2, 0, 0])] + x[:, [1]],
    "a constant": lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "sums by name": lambda x: torch.add(x, x, alpha=3).softmax(dim=-1),
    "questions of shape and type": lambda x: x.to(torch.promote_types(x.dtype, torch.float64)),
    "per row": lambda x: torch.vmap(lambda r: nn.functional.softplus(r) @ r)(x),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_trace_repeats_what_was_done(function):
    assert same_elsewhere(function, numbers(0, 3, 4), numbers(1, 3, 4))


def test_the_function_runs_once_and_its_result_is_handed_on():
    x, calls = numbers(0, 3, 4), []

    def function():
        calls.append(1)
        return x * 2, None

    (found, nothing), made = traced(function, [x])
    assert torch.equal(found, 2 * x)
    assert nothing is None
    assert made.compiled()(x)[1] is None
    assert len(calls) == 1


def test_gradients_are_part_of_the_trace():
    def gradient(w, x):
        with torch.enable_grad():
            own = w.detach().requires_grad_()
            loss = torch.vmap(lambda row: nn.functional.relu(row @ own).square())(x).sum()
            return torch.autograd.grad(loss, own)[0]

    w, x = numbers(0, 4), numbers(1, 3, 4)
    made = trace(gradient, w, x).compiled()
    other, rows = numbers(2, 4), numbers(3, 3, 4)
    assert torch.equal(made(other, rows)[0], gradient(other, rows))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x.sum().item(),
        lambda x: x + 1 if torch.equal(x, x) else x,
        lambda x: x + len(x.nonzero()),
        lambda x: x[x > 0].sum(),
        lambda x: x.to_sparse().to_dense(),
        lambda x: x + torch.eye(4)[:3].to_sparse().to_dense(),
        lambda x: x @ SPARSE.to_dense(),
        lambda x: COUNTER.add_(1) + x,
        lambda x: COUNTER[None].add_(1) + x,
    ],
    ids=[
        *("a number", "a question", "a count", "a selection", "sparse", "a sparse row"),
        *("a sparse constant", "a counter", "a view of a counter"),
    ],
)
def test_there_is_no_trace_of_what_numbers_decide(function):
    x = numbers(0, 3, 4)
    COUNTER.zero_()
    (found,), made = traced(lambda: (function(x),), [x])
    assert made is None
    COUNTER.zero_()
    assert torch.equal(found, function(x))


def test_tensors_that_die_meanwhile_do_not_confuse_the_trace():
    """Addresses are used again: what was made must be known by more than its address."""

    def function(x):
        for k in range(50):
            x = x + torch.full((4,), float(k)).sin()
            x = x * torch.from_numpy(np.full(4, 0.9**k, np.float32))  # of which nobody hears
        return x

    assert same_elsewhere(function, numbers(0, 3, 4), numbers(1, 3, 4))
