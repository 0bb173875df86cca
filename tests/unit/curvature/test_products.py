"""Derivatives in the outputs, and preconditioned conjugate gradients, against dense algebra."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from expunge.contract.problems import CLASSES, generator, ridge, tiny64
from expunge.curvature.products import (
    conjugate_gradients,
    output_curvature,
    output_root,
    output_slope,
)
from expunge.data import Batch
from expunge.problem import Classification, Regression, Task

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


# ---- a root of the curvature


class Focal(Classification):
    """A loss of its own: the cross-entropy times 1 - p_y, which is not convex everywhere."""

    def loss(self, outputs, batch):
        loss = super().loss(outputs, batch)
        return loss * (1 - torch.exp(-loss))


class Pair(Regression):
    """Two values a row, of curvature [[2, 1], [1, 3]]."""

    def loss(self, outputs, batch):
        bent = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=outputs.dtype)
        return 0.5 * ((outputs @ bent) * outputs).sum(-1)


def rows_of(rows: int, outputs: int) -> tuple[Tensor, Batch]:
    z = 2 * torch.randn(rows, outputs, generator=generator(outputs), dtype=torch.float64)
    return z, Batch(torch.zeros(rows, 1), torch.arange(rows) % outputs, torch.arange(rows))


def over_all_signs(task: Task, batch: Batch, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, C) and covariance (B, C, C) of R s over all 2^C vectors s of signs, each once."""
    every = torch.tensor(list(product((-1.0, 1.0), repeat=z.shape[1])), dtype=z.dtype)
    found = torch.stack([output_root(task, batch, z, s.expand_as(z).clone()) for s in every])
    return found.mean(0), torch.einsum("sbc,sbd->bcd", found, found) / len(every)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_of_the_cross_entropy_the_root_squares_to_the_covariance_of_a_label(classes):
    z, batch = rows_of(4, classes)
    z[3] = 0.0  # all classes as likely
    p = z.softmax(1)
    mean, covariance = over_all_signs(Classification(classes), batch, z)
    assert mean.abs().max() < 1e-15
    assert torch.allclose(
        covariance, p.diag_embed() - p[:, :, None] * p[:, None, :], rtol=0, atol=1e-14
    )


def test_of_two_classes_random_signs_do_not_scatter():
    """Each vector by itself has the covariance as its square."""
    z, batch = rows_of(4, 2)
    p = z.softmax(1)
    for signs in ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)):
        v = torch.tensor(signs, dtype=z.dtype).expand_as(z)
        u = output_root(Classification(2), batch, z, v)
        squared = u[:, :, None] * u[:, None, :]
        assert torch.allclose(squared, p.diag_embed() - p[:, :, None] * p[:, None, :], atol=1e-14)


@pytest.mark.parametrize("surest", [0, 1, 4])
def test_a_model_that_is_sure_has_a_finite_root(surest):
    z, batch = rows_of(2, 5)
    z[:, surest] = 1e4
    for kind in (torch.float32, torch.float64):
        u = output_root(Classification(5), batch, z.to(kind), torch.ones(2, 5, dtype=kind))
        assert u.dtype == kind
        assert (u == 0).all()  # p - p^2 is 0


def test_fifty_thousand_classes_need_no_matrix(monkeypatch):
    """R R^T x = p x - p (p . x), R^T by autograd."""
    monkeypatch.delattr("expunge.curvature.products.output_curvature")
    z, batch = rows_of(3, 50_000)
    root = partial(output_root, Classification(50_000), batch, z)
    x = torch.randn(z.shape, generator=generator(1), dtype=z.dtype)
    back = torch.func.vjp(root, torch.zeros_like(z))[1](x)[0]
    p = z.softmax(1)
    expected = p * x - p * (p * x).sum(1, keepdim=True)
    assert torch.allclose(root(back), expected, rtol=0, atol=1e-16)
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("held", [1 << 24, 19])
def test_any_other_loss_is_served_by_eigenvectors_also_by_pieces(monkeypatch, held):
    """With 19 numbers two rows of 3 x 3 at a time; the last piece of five rows has one."""
    monkeypatch.setattr("expunge.curvature.products.NUMBERS", held)
    z, batch = rows_of(5, 3)
    mean, covariance = over_all_signs(Focal(3), batch, z)
    values, vectors = torch.linalg.eigh(output_curvature(Focal(3), batch, z))
    convex = vectors @ values.clamp_min(0).diag_embed() @ vectors.mT
    assert mean.abs().max() < 1e-15
    assert torch.allclose(covariance, convex, atol=1e-14)
    p = z.softmax(1)
    assert not torch.allclose(covariance, p.diag_embed() - p[:, :, None] * p[:, None, :], atol=0.01)


def test_pieces_of_rows_keep_their_own_vectors(monkeypatch):
    z, batch = rows_of(5, 3)
    v = torch.randn(z.shape, generator=generator(1), dtype=z.dtype)
    whole = output_root(Focal(3), batch, z, v)
    monkeypatch.setattr("expunge.curvature.products.NUMBERS", 19)
    assert torch.allclose(output_root(Focal(3), batch, z, v), whole, atol=1e-14)


def test_losses_of_values_have_the_root_of_their_own_curvature():
    z, batch = rows_of(4, 1)
    v = torch.tensor([[1.0], [-1.0], [2.0], [0.0]], dtype=torch.float64)
    assert torch.equal(output_root(Regression(), batch, z, v).abs(), v.abs())
    z, batch = rows_of(4, 2)
    _, covariance = over_all_signs(Pair(), batch, z)
    expected = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64).expand(4, 2, 2)
    assert torch.allclose(covariance, expected, atol=1e-14)


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
