"""Derivatives of models of text against plain autograd, and padding that they must not see."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import generator
from expunge.curvature.ekfac import ekfac
from expunge.curvature.leave_out import tangent
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.data import TensorData
from expunge.rng import Draws, seeded

from .problems import Attending, Encoder, Mean, Recurrent, held, padded, texts

ROWS = torch.arange(9)
KINDS = {
    "embedding": Mean,
    "lstm": Recurrent,
    "fused attention": Attending,
    "transformer": partial(Encoder, 0.1),  # with dropout, which is off where derivatives are taken
}
kinds = pytest.mark.parametrize("build", KINDS.values(), ids=KINDS)


def point(build, make=held, dtype=torch.float64) -> Point:
    problem = texts(make=make)
    with seeded(3):
        return Point(problem.task, problem.train, build().to(dtype))


def like(here: Point, seed: int) -> dict[str, Tensor]:
    g = generator(seed)
    return {
        name: torch.randn(w.shape, generator=g, dtype=torch.float64).to(w)
        for name, w in here.weights.items()
    }


def by_autograd(here: Point, row: int, pick) -> dict[str, Tensor]:
    """The gradient of a number of one row's outputs, by nothing but a backward pass."""
    here.module.eval()
    (batch,) = here.data.batches([torch.tensor([row])])
    score = pick(here.task.outputs(here.module, batch), batch)
    found = torch.autograd.grad(score, [*here.module.parameters()], materialize_grads=True)
    return dict(zip(here.weights, found, strict=True))


@kinds
@pytest.mark.parametrize("make", [held, padded])
def test_gradients_of_rows_are_those_of_autograd(build, make):
    here = point(build, make)
    found = list(here.row_gradients(ROWS))
    for row in (0, 4, 8):
        expected = by_autograd(here, row, lambda z, b: here.task.loss(z, b).sum())
        for name, g in expected.items():
            got = torch.cat([part[name] for part in found])[row]
            torch.testing.assert_close(got, g, rtol=0, atol=1e-12)


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gauss_newton_products_are_those_of_the_matrix_by_autograd(build, dtype):
    """Sum over rows of J^T (diag p - p p^T) J v, J an output at a time; float32 to its digits."""
    here = point(build, padded, dtype)
    v, found = like(here, 1), {name: 0.0 for name in here.weights}
    for row in ROWS.tolist():
        jacobian = [by_autograd(here, row, lambda z, b, c=c: z[0, c]) for c in range(3)]
        tangents = torch.stack([sum((j[n] * v[n]).sum() for n in v) for j in jacobian])
        (batch,) = here.data.batches([torch.tensor([row])])
        p = here.task.outputs(here.module, batch).detach().softmax(-1)[0]
        bent = p * tangents - p * (p @ tangents)
        for name in found:
            pulled = [j[name] * b for j, b in zip(jacobian, bent, strict=True)]
            found[name] = found[name] + torch.stack(pulled).sum(0) / len(ROWS)
    product = gauss_newton_product(here, ROWS, v)
    size = max(float(g.abs().max()) for g in found.values())
    for name, g in found.items():
        bound = (1e-12 if dtype == torch.float64 else 1e-5) * max(1.0, size)
        torch.testing.assert_close(product[name], g, rtol=0, atol=bound)


@kinds
def test_a_tangent_is_the_limit_of_a_difference(build):
    here, step = point(build), like(point(build), 2)
    z, change = tangent(here, ROWS, step)
    ends = []
    for sign in (1, -1):
        moved = {name: w + sign * 1e-6 * step[name] for name, w in here.weights.items()}
        for batch in here.batches(ROWS):
            ends.append(here.task.outputs(here.at(moved), batch))
    torch.testing.assert_close(change, (ends[0] - ends[1]) / 2e-6, rtol=0, atol=1e-7)
    assert change.abs().max() > 1e-3


# ---- padding


def longer(data, by: int = 5) -> TensorData:
    (batch,) = data.batches([torch.arange(len(data))])
    inputs = {name: nn.functional.pad(x, (0, by)) for name, x in batch.inputs.items()}
    return TensorData(inputs, batch.targets)


@pytest.mark.parametrize("build", [Mean, Attending, Encoder])
def test_longer_padding_changes_no_derivative(build):
    """EK-FAC with its bases, which are of the inputs of layers, of tokens alone."""
    plain = point(build, padded)
    padding = Point(plain.task, longer(plain.data), plain.module)
    goal, draws = like(plain, 4), Draws((0, "ekfac"))
    found = []
    for here in (plain, padding):
        found.append(
            (
                here.gradient(ROWS),
                gauss_newton_product(here, ROWS, goal),
                ekfac(here, ROWS, draws).solve(goal, 0.01),
            )
        )
    for one, other in zip(*found, strict=True):
        size = max(float(value.abs().max()) for value in one.values())
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-8 * size)
