"""Ridge regression, where what forgetting should do is a formula.

The recipe's penalty stands on the mean loss: training on m rows minimises
(|X theta - y|^2 / 2) / m + l2/2 |theta|^2, so lambda = l2 * m differs between S and R.
With A = X_R^T X_R + l2 |R| I, the optimum on R solves A theta_* = X_R^T y_R, and the one on S

    (A + X_F^T X_F + l2 |F| I) theta_full = X_R^T y_R + X_F^T y_F,

hence   theta_full - theta_* = -A^-1 [X_F^T (X_F theta_full - y_F) + l2 |F| theta_full].
Where lambda is the same for S and R the last term falls away (reference, section 5).
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.problems import FORGET, at, generator, ridge, ridge_optimum
from expunge.data import TensorData
from expunge.methods import MethodInputs, matching, method
from expunge.problem import Problem, Recipe, Regression
from expunge.rng import Draws
from expunge.training.from_recipe import train

D, N = 20, 400


def wide() -> nn.Module:
    return nn.Linear(D, 1, bias=False).double()


def rare(l2: float = 0.002) -> Problem:
    """The forgotten rows alone have a component along the last feature."""
    g = generator(3)
    x = torch.randn(N, D, generator=g, dtype=torch.float64)
    x[:, -1] = 0.0
    x[list(FORGET), -1] = 3.0
    y = x @ torch.randn(D, generator=g, dtype=torch.float64)
    y = y + 0.1 * torch.randn(N, generator=g, dtype=torch.float64)
    y[list(FORGET)] += 3.0
    recipe = Recipe(wide, 1, N, partial(torch.optim.SGD, lr=0.1), l2=l2)
    data = TensorData(x, y)
    return Problem(Regression(), data, data, recipe=recipe).forgetting(list(FORGET))


def theta_of(models) -> torch.Tensor:
    (found,) = models.tensors().values()
    return found[0, 0]


@pytest.mark.parametrize("rows", [80, 240])
def test_leave_set_out_formula_holds_for_trained_models(rows):
    problem = ridge(rows)
    x, y = problem.train.inputs, problem.train.targets
    forget, retain, l2 = problem.forget, problem.retain, problem.recipe.l2
    full, oracle = (
        theta_of(train(problem, role, [0], seed=0)[0]) for role in ("original", "oracle")
    )
    curvature = x[retain].T @ x[retain] + l2 * len(retain) * torch.eye(x.shape[1], dtype=x.dtype)
    pull = x[forget].T @ (x[forget] @ full - y[forget]) + l2 * len(forget) * full
    assert (full - oracle + torch.linalg.solve(curvature, pull)).abs().max() < 1e-8
    assert (full - oracle).abs().max() > 0.02


def test_without_the_change_of_penalty_the_formula_is_that_of_the_reference():
    """An oracle of l2 * |S| / |R| has the lambda of the original."""
    problem = ridge()
    x, y = problem.train.inputs, problem.train.targets
    forget, retain = problem.forget, problem.retain
    kept = replace(problem.recipe, l2=problem.recipe.l2 * len(x) / len(retain))
    full = theta_of(train(problem, "original", [0], seed=0)[0])
    oracle = theta_of(train(replace(problem, recipe=kept), "oracle", [0], seed=0)[0])
    curvature = x[retain].T @ x[retain] + problem.recipe.l2 * len(x) * torch.eye(
        x.shape[1], dtype=x.dtype
    )
    pull = x[forget].T @ (x[forget] @ full - y[forget])
    assert (full - oracle + torch.linalg.solve(curvature, pull)).abs().max() < 1e-8


def test_matching_reaches_the_oracle_where_descent_stalls():
    """The rare direction decouples: there descent on R feels the penalty alone.

    Its coordinate obeys v <- 0.9 v + l2 theta, theta <- theta - lr v, which the test runs by hand:
    after 100 steps at lr 0.01 and l2 0.002, 0.98 of it is left. Matching sees the forgotten
    rows, whose curvature is that of any other row, and closes the whole gap.
    """
    problem = rare()
    full, kept = (ridge_optimum(problem, rows) for rows in (problem.present_rows, problem.retain))
    assert kept[-1] == 0.0  # no retained row speaks for it
    gap = (full - kept).norm()
    assert full[-1].abs() > 0.9 * gap

    steps, lr = 100, 0.01
    tuned = method("fine-tune", epochs=steps, lr=lr, batch_size=N)(problem, at(full, wide), seed=0)
    theta, v = full[-1].clone(), torch.zeros(())
    for _ in range(steps):
        v = 0.9 * v + problem.recipe.l2 * theta
        theta = theta - lr * v
    assert theta_of(tuned.models)[-1] == pytest.approx(float(theta), abs=1e-12)
    assert (theta_of(tuned.models) - kept).norm() > 0.95 * gap

    sizes = {"forget_batch_size": 6, "retain_batch_size": 120}
    taught = method("oracle-matching", steps=steps, lr=0.1, **sizes)
    result = taught(problem, at(full, wide), MethodInputs(teachers=at(kept, wide)), seed=0)
    assert (theta_of(result.models) - kept).norm() < 0.03 * gap


def test_matching_on_too_few_rows_is_underdetermined(monkeypatch):
    """6 + 8 rows say nothing about 6 of 20 directions; 6 + 120 rows fix all of them."""
    problem = rare()
    full, kept = (ridge_optimum(problem, rows) for rows in (problem.present_rows, problem.retain))
    gap, left, seen = (full - kept).norm(), {}, {}
    for rows in (8, 120):
        pool = problem.retain[:rows]
        monkeypatch.setattr(matching, "retain_pool", lambda *_, pool=pool: pool)
        sizes = {"forget_batch_size": 6, "retain_batch_size": rows}
        taught = method("oracle-matching", steps=300, lr=0.2, **sizes)
        result = taught(problem, at(full, wide), MethodInputs(teachers=at(kept, wide)), seed=0)
        theta = theta_of(result.models)
        known = problem.train.inputs[torch.cat([problem.forget, pool])]
        left[rows] = float((theta - kept).norm() / gap)
        seen[rows] = float((known @ (theta - kept)).norm() / (known @ (full - kept)).norm())
    assert max(seen.values()) < 3e-3  # both fit what they were shown
    assert left[120] < 3e-3
    assert left[8] > 0.05


def test_the_pool_of_a_default_run_is_not_too_small():
    """80 steps of 32 rows: every retained row, for as many as there are here."""
    problem = rare()
    default = method("oracle-matching")
    pool = matching.retain_pool(
        problem, default.steps, default.retain_batch_size, Draws((0, "test"))
    )
    assert torch.equal(pool, problem.retain)
    few = matching.retain_pool(problem, 3, 32, Draws((0, "test")))
    assert len(few.unique()) == 96
    assert torch.isin(few, problem.retain).all()


def test_ascent_diverges_on_ridge_where_descent_settles():
    """Curvature of the forgotten rows alone: each step multiplies the error by more than one."""
    problem = ridge()
    full = ridge_optimum(problem, problem.present_rows)
    start = at(full, problem.recipe.build)
    ends = [
        method("gradient-ascent", epochs=epochs, lr=0.05)(problem, start, seed=0).models
        for epochs in (10, 40)
    ]
    gaps = [float((theta_of(end) - full).norm()) for end in ends]
    assert gaps[1] > 10 * gaps[0]
