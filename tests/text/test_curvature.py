"""Derivatives of models of text against plain autograd, and padding that they must not see."""

from functools import partial

import pytest
import torch
from torch import nn

from expunge.curvature.ekfac import ekfac
from expunge.curvature.leave_out import tangent
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.data import TensorData
from expunge.rng import Draws, seeded

from .by_autograd import like, require_product, require_row_gradients
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


@kinds
@pytest.mark.parametrize("make", [held, padded])
def test_gradients_of_rows_are_those_of_autograd(build, make):
    require_row_gradients(point(build, make), ROWS)


@kinds
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gauss_newton_products_are_those_of_the_matrix_by_autograd(build, dtype):
    """Sum over rows of J^T (diag p - p p^T) J v, J an output at a time; float32 to its digits."""
    require_product(point(build, padded, dtype), ROWS)


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
