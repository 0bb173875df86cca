"""Leave-set-out where the retrained optimum is known, and where the docstring is a formula.

The trained weights theta minimise the mean loss over S plus l2/2 |theta|^2, so that the slopes of
all rows sum to -|S| l2 theta, not to zero. With slopes for gradients, J the inputs:

    -1/|R| sum over F of slope . J d  =  1/|R| sum over R of slope . J d  +  l2 |S|/|R| theta . d.

What the docstring minimises is therefore, up to a constant, the mean loss over R plus

    l2 |S|/|R| theta . d + c/2 |d|^2,    which for c = l2 |S|/|R| is  c/2 |theta + d|^2:

the optimum on R of a recipe whose penalty of the SUM of losses is that of the original, exactly.
With c = l2, as the damping has it, what is missed is the change of the penalty on the mean: a
force l2 |F|/|R| theta, which is small where few rows are forgotten.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    at,
    logistic,
    logistic_optimum,
    ridge,
    ridge_optimum,
)
from expunge.curvature.leave_out import LeaveOut
from expunge.curvature.point import Point
from expunge.problem import Problem
from expunge.rng import Draws, seeded

MANY = 20  # iterations that solve a system of 18 unknowns
DRAWS = Draws((0, "test"))


def optimum(problem: Problem, rows: Tensor) -> Tensor:
    found = ridge_optimum if problem.task.kind == "regression" else logistic_optimum
    return found(problem, rows).reshape(-1, FEATURES)


def trained(problem: Problem) -> Point:
    """The optimum on all present rows."""
    theta = optimum(problem, problem.present_rows)
    return Point(problem.task, problem.train, at(theta, problem.recipe.build).template)


def step(problem: Problem, how: LeaveOut, sample: Tensor | None = None, times: int = 1) -> Tensor:
    """The change of the weights; the retained rows count `times` as many."""
    kept = problem.retain if sample is None else sample
    retained = times * len(problem.retain)
    return how.step(trained(problem), problem.forget, retained, kept, DRAWS)["weight"]


def as_before(problem: Problem) -> Problem:
    """With the l2 that leaves the penalty of the sum of losses as it was before forgetting."""
    l2 = problem.recipe.l2 * len(problem.present_rows) / len(problem.retain)
    return replace(problem, recipe=replace(problem.recipe, l2=l2))


def bregman(problem: Problem, damping: float, times: int = 1) -> Tensor:
    """The minimum d of the docstring's objective, by Newton's method."""
    here = trained(problem)
    theta, parts = here.weights["weight"], []
    for rows in (problem.retain, problem.forget):
        (batch,) = here.data.batches([rows])
        z = (batch.inputs @ theta.T).requires_grad_()
        (slope,) = torch.autograd.grad(here.task.loss(z, batch).sum(), z)
        parts.append((batch, z.detach(), slope))
    (kept, z, slope), (gone, _, pull) = parts

    def objective(d: Tensor) -> Tensor:
        change = kept.inputs @ d.T
        divergence = here.task.loss(z + change, kept) - (slope * change).sum(1)
        gain = (pull * (gone.inputs @ d.T)).sum() / (times * len(kept.rows))
        return divergence.mean() - gain + damping / 2 * d.square().sum()

    d = torch.zeros_like(theta)
    for _ in range(7):
        gradient = torch.func.grad(objective)(d)
        curvature = torch.func.hessian(objective)(d).reshape(d.numel(), -1)
        d = d - torch.linalg.solve(curvature, gradient.flatten()).reshape(d.shape)
    assert torch.func.grad(objective)(d).norm() < 1e-12
    return d


# ---- ridge regression: one step is everything


@pytest.mark.parametrize("iterations", [0, 1, MANY])
def test_ridge_reaches_the_retrained_optimum_of_the_same_penalty_in_all(iterations):
    """EK-FAC is exact here, so that it needs no conjugate gradients, and one iteration does."""
    problem = ridge()
    kept = as_before(problem)
    found = step(problem, LeaveOut(kept.recipe.l2, iterations))
    expected = optimum(kept, problem.retain) - optimum(problem, problem.present_rows)
    assert (found - expected).abs().max() < 1e-8
    assert expected.abs().max() > 0.02


def test_ridge_with_the_penalty_on_the_mean_misses_the_change_of_the_penalty_and_no_more():
    """A^-1 l2 |F| theta, with A = X_R^T X_R + l2 |R| I: 6 % of the step here."""
    problem = ridge()
    x, l2 = problem.train.inputs[problem.retain], problem.recipe.l2
    matrix = x.T @ x + l2 * len(x) * torch.eye(FEATURES)
    theta = optimum(problem, problem.present_rows)
    missed = torch.linalg.solve(matrix, l2 * len(problem.forget) * theta[0])
    expected = optimum(problem, problem.retain) - theta
    found = step(problem, LeaveOut(l2, MANY))
    assert (found + missed - expected).abs().max() < 1e-8
    assert 0.03 * expected.norm() < missed.norm() < 0.1 * expected.norm()


def test_ridge_needs_no_second_round():
    problem = ridge()
    once, twice = (step(problem, LeaveOut(0.1, MANY, rounds)) for rounds in (1, 2))
    assert (once - twice).abs().max() < 1e-12


# ---- logistic regression: rounds of Newton


def test_rounds_converge_to_the_retrained_optimum_of_the_same_penalty_in_all():
    problem = logistic()
    kept = as_before(problem)
    expected = optimum(kept, problem.retain) - optimum(problem, problem.present_rows)
    errors = [
        float((step(problem, LeaveOut(kept.recipe.l2, MANY, rounds)) - expected).norm())
        for rounds in (1, 2, 3, 5)
    ]
    assert errors[-1] < 1e-8
    assert errors[0] < 0.1 * expected.norm()
    assert errors[0] > 10 * errors[1] > 100 * errors[2]  # quadratic


@pytest.mark.parametrize("damping", [0.03, 0.1, 1.0])
def test_rounds_converge_to_the_minimum_that_the_docstring_writes_out(damping):
    problem = logistic()
    found = step(problem, LeaveOut(damping, MANY, 6))
    assert (found - bregman(problem, damping)).abs().max() < 1e-8


def test_the_error_of_one_step_is_of_second_order():
    """With the retained rows twice as many the pull is half, and the error a quarter."""
    problem = logistic()
    counts, errors = (8, 16, 32, 64), []
    for times in counts:
        found = step(problem, LeaveOut(0.1, MANY), times=times)
        errors.append((found - bregman(problem, 0.1, times)).norm().log2())
    for a, b in zip(errors, errors[1:], strict=False):
        assert 1.9 < a - b < 2.1


def test_it_goes_the_way_of_retraining_and_the_forgotten_rows_are_believed_less():
    problem = logistic()
    here = trained(problem)
    d = step(problem, LeaveOut(0.1, 4))
    slope = here.gradient(problem.forget)["weight"]
    assert float((slope * d).sum()) > 0  # their loss rises
    expected = optimum(problem, problem.retain) - optimum(problem, problem.present_rows)
    assert float((d * expected).sum() / d.norm() / expected.norm()) > 0.9


def test_a_few_preconditioned_iterations_come_close():
    problem = logistic()
    exact = step(problem, LeaveOut(0.1, MANY))
    errors = [
        float((step(problem, LeaveOut(0.1, k)) - exact).norm() / exact.norm()) for k in (0, 2, 4)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] < 0.5
    assert errors[2] < 0.02


# ---- whose curvature


def test_influence_makes_the_effect_of_a_row_of_high_leverage_too_small_by_one_minus_it():
    """(A - x x^T)^-1 x = A^-1 x / (1 - h), h = x^T A^-1 x, with A = X_S^T X_S + lambda I.

    All rows' mean curvature takes the damping lambda / |S|, the retained rows' lambda / |R|.
    """
    problem = ridge().forgetting([7])
    problem.train.inputs[7] *= 6.0
    x, total = problem.train.inputs, 8.0
    inverse = torch.linalg.inv(x.T @ x + total * torch.eye(FEATURES))
    leverage = float(x[7] @ inverse @ x[7])
    assert 0.5 < leverage < 0.9
    own = step(problem, LeaveOut(total / len(problem.retain), MANY))
    everything = problem.present_rows
    classical = step(problem, LeaveOut(total / len(everything), MANY), sample=everything)
    shrunk = (1 - leverage) * len(everything) / len(problem.retain)
    assert torch.allclose(classical, shrunk * own, atol=1e-10)


def test_no_row_forgotten_is_no_change():
    problem = logistic().forgetting([])
    assert (step(problem, LeaveOut(0.1, 3, 2)) == 0).all()


def test_the_sample_counts_as_all_retained_rows():
    """Twice the same rows are the same mean; how many rows R has says how hard F pulls."""
    problem = logistic()
    twice = problem.retain.repeat(2)
    once, again = (step(problem, LeaveOut(0.1, MANY, 3), sample) for sample in (None, twice))
    assert (once - again).abs().max() < 1e-10
    one = LeaveOut(0.1, MANY)
    assert torch.allclose(step(problem, one, times=3), step(problem, one) / 3, atol=1e-12)


def test_same_draws_same_bits_and_global_generators_play_no_part():
    problem = logistic()
    found = step(problem, LeaveOut(0.1, 2))
    assert found.shape == (CLASSES, FEATURES)
    with seeded(5):
        assert torch.equal(found, step(problem, LeaveOut(0.1, 2)))
