"""Derivatives in the outputs, and preconditioned conjugate gradients, against dense algebra."""

from functools import partial

import pytest
import torch
from torch import Tensor

from expunge.contract.problems import CLASSES, generator, ridge, tiny64
from expunge.curvature.products import conjugate_gradients, output_curvature, output_slope

ROWS = torch.tensor([0, 5, 3, 41])


def test_slope_and_curvature_of_the_cross_entropy_by_hand():
    """p - y and diag(p) - p p^T, whatever the label."""
    problem = tiny64()
    (batch,) = problem.train.batches([ROWS])
    z = torch.randn(4, CLASSES, generator=generator(0), dtype=torch.float64)
    p, y = z.softmax(1), torch.eye(CLASSES)[batch.targets]
    assert torch.allclose(output_slope(problem.task, batch, z), p - y, atol=1e-12)
    found = output_curvature(problem.task, batch, z)
    assert torch.allclose(found, p.diag_embed() - p[:, :, None] * p[:, None, :], atol=1e-12)


def test_slope_and_curvature_of_half_the_squared_error_by_hand():
    problem = ridge()
    (batch,) = problem.train.batches([ROWS])
    z = torch.randn(4, 1, generator=generator(0), dtype=torch.float64)
    slope = output_slope(problem.task, batch, z)
    assert torch.allclose(slope[:, 0], z[:, 0] - batch.targets, atol=1e-12)
    assert torch.equal(output_curvature(problem.task, batch, z), torch.ones(4, 1, 1).double())


# ---- preconditioned conjugate gradients

SIZE = 12


def spd(seed: int) -> Tensor:
    root = torch.randn(SIZE, SIZE, generator=generator(seed), dtype=torch.float64)
    return root @ root.T + torch.eye(SIZE)


GOAL = torch.randn(SIZE, generator=generator(9), dtype=torch.float64)


def times(matrix: Tensor, v: dict[str, Tensor]) -> dict[str, Tensor]:
    return split(matrix @ torch.cat([v["a"], v["b"]]))


def split(vector: Tensor) -> dict[str, Tensor]:
    return {"a": vector[:5], "b": vector[5:]}


def solve(matrix: Tensor, inverse: Tensor, steps: int, **settings) -> Tensor:
    found = conjugate_gradients(
        partial(times, matrix), split(GOAL), steps, precondition=partial(times, inverse), **settings
    )
    return torch.cat([found["a"], found["b"]])


@pytest.mark.parametrize("distinct", [1, 2, 3, 5])
def test_as_many_steps_as_distinct_eigenvalues_of_the_preconditioned_matrix(distinct):
    """A = L D L^T with P = L L^T: P^-1 A has the eigenvalues of D; one step fewer is not enough."""
    lower = torch.linalg.cholesky(spd(0))
    values = 1.0 + torch.arange(SIZE) % distinct
    matrix = lower @ values.double().diag() @ lower.T
    inverse, exact = torch.linalg.inv(lower @ lower.T), torch.linalg.solve(matrix, GOAL)
    assert (solve(matrix, inverse, distinct) - exact).norm() < 1e-10
    assert (solve(matrix, inverse, distinct + 20) - exact).norm() < 1e-10  # more do no harm
    if distinct > 1:
        assert (solve(matrix, inverse, distinct - 1) - exact).norm() > 1e-4


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_it_is_plain_conjugate_gradients_in_the_preconditioners_own_coordinates(steps):
    """With P = L L^T: x = L^-T y, and y is solved for L^-1 A L^-T y = L^-1 b."""
    matrix, lower = spd(1), torch.linalg.cholesky(spd(2))
    back = torch.linalg.inv(lower)
    inner, goal = back @ matrix @ back.T, {"y": back @ GOAL}
    y = conjugate_gradients(lambda v: {"y": inner @ v["y"]}, goal, steps)["y"]
    found = solve(matrix, torch.linalg.inv(lower @ lower.T), steps)
    assert torch.allclose(found, back.T @ y, atol=1e-10)


def test_without_a_preconditioner_it_solves_in_as_many_steps_as_dimensions():
    matrix = spd(1)
    found = solve(matrix, torch.eye(SIZE).double(), SIZE)
    assert (found - torch.linalg.solve(matrix, GOAL)).norm() < 1e-9
    plain = conjugate_gradients(partial(times, matrix), split(GOAL), 4)
    assert torch.equal(
        torch.cat([plain["a"], plain["b"]]), solve(matrix, torch.eye(SIZE).double(), 4)
    )


def test_the_error_in_the_matrix_s_norm_falls_with_every_step():
    matrix, exact = spd(1), torch.linalg.solve(spd(1), GOAL)
    inverse, errors = torch.linalg.inv(spd(2)), []
    for steps in range(6):
        left = solve(matrix, inverse, steps) - exact
        errors.append(float(left @ matrix @ left))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(float(exact @ matrix @ exact))  # no step: zero


def test_the_product_is_called_as_often_as_was_said_and_nothing_passed_in_is_changed():
    matrix, goal, calls = spd(1), split(GOAL.clone()), []

    def product(v):
        calls.append(1)
        return times(matrix, v)

    for steps in (0, 3, 40):  # solved long before
        calls.clear()
        conjugate_gradients(
            product, goal, steps, precondition=partial(times, torch.eye(SIZE).double())
        )
        assert len(calls) == steps
    assert torch.equal(torch.cat([goal["a"], goal["b"]]), GOAL)


def test_a_preconditioner_that_hands_its_argument_back_is_safe():
    """`dict` copies the names alone; directions and residuals must not share memory."""
    matrix = spd(1)
    for inverse in (dict, lambda v: v):
        found = conjugate_gradients(partial(times, matrix), split(GOAL), SIZE, precondition=inverse)
        left = torch.cat([found["a"], found["b"]]) - torch.linalg.solve(matrix, GOAL)
        assert left.norm() < 1e-9
