"""Influence: second-order error on convex problems, and each part of the step by hand."""

from itertools import pairwise
from math import log2

import pytest
import torch
from torch import Tensor

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    logistic,
    logistic_optimum,
    mlp64,
    ridge,
    ridge_optimum,
    tiny64,
)
from expunge.curvature.point import Point
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.methods.edit import sample
from expunge.rng import Draws, seeded

from .by_hand import model, models, rows_of, start, weight

EXACT = {"curvature": "gauss-newton", "damping": 0.0, "iterations": 40}


def row_weights(problem, fraction: float) -> Tensor:
    """1 for retained rows, 1 - fraction for forgotten ones."""
    w = torch.ones(len(problem.train), dtype=torch.float64)
    w[problem.forget] = 1 - fraction
    return w


def weighted_ridge(problem, fraction: float) -> Tensor:
    """(1, FEATURES), the minimum of sum w (x theta - y)^2 / 2 / sum w + l2/2 |theta|^2."""
    x, y, w = problem.train.inputs, problem.train.targets, row_weights(problem, fraction)
    penalty = problem.recipe.l2 * w.sum() * torch.eye(FEATURES, dtype=x.dtype)
    return torch.linalg.solve(x.T @ (w[:, None] * x) + penalty, x.T @ (w * y))[None]


def weighted_logistic(problem, fraction: float) -> Tensor:
    """(CLASSES, FEATURES), by Newton's method with gradient and Hessian written out."""
    x, y = rows_of(problem, problem.present_rows)
    share = row_weights(problem, fraction)
    share, l2 = share / share.sum(), problem.recipe.l2
    theta = torch.zeros(CLASSES, FEATURES, dtype=x.dtype)
    for _ in range(12):
        p = (x @ theta.T).softmax(1)
        slope = (share[:, None] * (p - y)).T @ x + l2 * theta
        bend = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        hessian = torch.einsum("n,nab,ni,nj->aibj", share, bend, x, x).reshape(18, 18)
        hessian = hessian + l2 * torch.eye(18, dtype=x.dtype)
        theta = theta - torch.linalg.solve(hessian, slope.flatten()).view_as(theta)
    assert slope.norm() < 1e-12
    return theta


CONVEX = {
    "ridge": (ridge, ridge_optimum, weighted_ridge),
    "logistic": (logistic, logistic_optimum, weighted_logistic),
}


@pytest.mark.parametrize("case", CONVEX)
def test_the_weighted_optimum_is_that_of_all_and_of_the_retained_rows_at_its_ends(case):
    build, optimum, weighted = CONVEX[case]
    problem = build()
    for fraction, rows in ((0.0, problem.present_rows), (1.0, problem.retain)):
        wanted = optimum(problem, rows).reshape(weighted(problem, fraction).shape)
        assert (weighted(problem, fraction) - wanted).abs().max() < 1e-10


@pytest.mark.parametrize("case", CONVEX)
def test_half_the_weight_removed_leaves_a_quarter_of_the_error(case):
    build, _, weighted = CONVEX[case]
    problem = build()
    full = weighted(problem, 0.0)
    errors = []
    for fraction in (0.2, 0.1, 0.05, 0.025):
        chosen = method("influence", fraction=fraction, **EXACT)
        found = weight(chosen(problem, model(full), seed=0).models)
        errors.append(float((found - weighted(problem, fraction)).norm()))
    slopes = [log2(a / b) for a, b in pairwise(errors)]
    assert all(1.9 < slope < 2.1 for slope in slopes), slopes


@pytest.mark.parametrize("case", CONVEX)
def test_all_the_weight_removed_comes_near_the_retrained_optimum(case):
    build, _, weighted = CONVEX[case]
    problem = build()
    full, kept = weighted(problem, 0.0), weighted(problem, 1.0)
    found = weight(method("influence", **EXACT)(problem, model(full), seed=0).models)
    assert (found - kept).norm() < 0.5 * (full - kept).norm()


def effect(problem, theta: Tensor, fraction: float = 1.0) -> Tensor:
    """g_F / N - g_R N_F / (N N_R), flat, for a fraction of 1; g are sums over rows."""
    (x_f, y_f), (x_r, y_r) = (rows_of(problem, rows) for rows in (problem.forget, problem.retain))
    g_f, g_r = (((x @ theta.T).softmax(1) - y).T @ x for x, y in ((x_f, y_f), (x_r, y_r)))
    n_f, n_r = len(x_f), len(x_r)
    n = n_f + n_r
    if fraction == 1.0:
        return (g_f / n - g_r * n_f / (n * n_r)).flatten()
    left = 1 - fraction
    return ((g_f + g_r) / n - (left * g_f + g_r) / (left * n_f + n_r)).flatten()


def row_gradients(problem, theta: Tensor, rows: Tensor) -> Tensor:
    """(rows, 18)."""
    x, y = rows_of(problem, rows)
    return (((x @ theta.T).softmax(1) - y)[:, :, None] * x[:, None, :]).flatten(1)


def step(problem, theta: Tensor, **settings) -> Tensor:
    """What influence adds to the weights, flat."""
    result = method("influence", **settings)(problem, model(theta), seed=3)
    return (weight(result.models) - theta).flatten()


def test_with_the_fisher_matrix_the_step_is_a_dense_solution():
    problem, theta = logistic(), start()
    g = row_gradients(problem, theta, problem.retain)
    for damping in (1.0, 0.01):
        matrix = damping * torch.eye(18, dtype=g.dtype) + g.T @ g / len(g)
        for fraction in (1.0, 0.4):
            wanted = torch.linalg.solve(matrix, effect(problem, theta, fraction))
            found = step(problem, theta, damping=damping, samples=0, fraction=fraction)
            assert (found - wanted).norm() < 1e-9 * wanted.norm()


def test_the_fisher_matrix_of_some_retained_rows():
    problem, theta = logistic(), start()
    rows = sample(problem.retain, 10, Draws((3, "unlearn", "influence")).of([0]))
    assert len(rows.unique()) == 10
    g = row_gradients(problem, theta, rows)
    matrix = torch.eye(18, dtype=g.dtype) + g.T @ g / 10
    wanted = torch.linalg.solve(matrix, effect(problem, theta))
    assert (step(problem, theta, samples=10) - wanted).norm() < 1e-9 * wanted.norm()


def test_the_gauss_newton_matrix_has_all_rows_the_penalty_and_the_damping():
    problem, theta = logistic(), start()
    x, _ = rows_of(problem, problem.present_rows)
    p = (x @ theta.T).softmax(1)
    bend = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    matrix = torch.einsum("nab,ni,nj->aibj", bend, x, x).reshape(18, 18) / len(x)
    matrix = matrix + (problem.recipe.l2 + 0.05) * torch.eye(18, dtype=x.dtype)
    wanted = torch.linalg.solve(matrix, effect(problem, theta))
    found = step(problem, theta, curvature="gauss-newton", damping=0.05, iterations=40)
    assert (found - wanted).norm() < 1e-9 * wanted.norm()


def test_running_is_the_published_recursion():
    """K starts as v and o as the first gradient; each further row shrinks both along o."""
    problem, theta = logistic(), start()
    k, o = effect(problem, theta), None
    for g in row_gradients(problem, theta, problem.retain):
        if o is None:
            o = g
            continue
        along = o @ g
        k, o = k - (k @ g) / (1000 + along) * o, o - along / (1000 + along) * o
    found = step(problem, theta, samples=0, running=True)
    assert (found - k).norm() < 1e-12
    assert (found - effect(problem, theta)).norm() > 1e-4  # so that the recursion is seen


def test_alpha_is_the_length_of_the_step():
    problem, theta = logistic(), start()
    one, three = step(problem, theta), step(problem, theta, alpha=3.0)
    assert one.norm() > 1e-3
    assert (three - 3 * one).abs().max() < 1e-12
    assert torch.equal(step(problem, theta, alpha=0.0), torch.zeros(18, dtype=theta.dtype))


def test_nothing_removed_moves_nothing_but_rounding():
    assert step(logistic(), start(), fraction=0.0).abs().max() < 1e-15


def test_every_member_has_a_step_of_its_own():
    problem = logistic()
    thetas = [start(0), start(1), start(2)]
    found = method("influence")(problem, models(thetas, group=2), seed=3).models
    for k, theta in enumerate(thetas):
        assert torch.equal(weight(found, k), weight(_alone(problem, theta, k)))


def _alone(problem, theta, member):
    one = Ensemble.of(model(theta).template, member)
    return method("influence")(problem, one, seed=3).models


def test_a_network_is_moved_as_its_own_derivatives_say():
    problem = tiny64()
    with seeded(0):
        net = mlp64()
    point = Point(problem.task, problem.train, net)
    flat = torch.cat([w.flatten() for w in point.weights.values()])
    (rows,) = point.row_gradients(problem.retain)
    g = torch.cat([part.flatten(1) for part in rows.values()], 1)
    (gone,) = point.row_gradients(problem.forget)
    g_f = torch.cat([part.flatten(1) for part in gone.values()], 1).sum(0)
    v = g_f / 60 - g.sum(0) * 6 / (60 * 54)
    wanted = flat + torch.linalg.solve(torch.eye(len(flat)).double() + g.T @ g / 54, v)
    found = method("influence", samples=0)(problem, Ensemble.of(net), seed=0).models
    assert (torch.cat([w.flatten() for w in found.weights().values()]) - wanted).norm() < 1e-10


def test_masked_weights_keep_their_bits_and_the_others_move_as_ever():
    problem, theta = logistic(), start()
    free = torch.zeros(CLASSES, FEATURES, dtype=torch.bool)
    free[1:, ::2] = True
    chosen = method("influence")
    whole = weight(chosen(problem, model(theta), seed=0).models)
    found = weight(
        chosen(problem, model(theta), MethodInputs(mask={"weight": free}), seed=0).models
    )
    assert torch.equal(found[~free], theta[~free])
    assert torch.equal(found[free], whole[free])
    assert (found[free] != theta[free]).all()


def test_a_fisher_matrix_without_damping_is_refused():
    with pytest.raises(BadInput, match="damping = 0 and the Fisher matrix.*no inverse.*gauss-new"):
        method("influence", damping=0)


def test_the_published_recursion_of_another_matrix_is_refused():
    with pytest.raises(BadInput, match="running and curvature = gauss-newton.*leave --running out"):
        method("influence", curvature="gauss-newton", running=True)


def test_gradients_that_do_not_fit_into_memory_are_refused_before_any_work(monkeypatch):
    """50 gradients of 18 numbers of 8 bytes: 7,200 bytes."""
    problem, theta = logistic(), start()
    monkeypatch.setattr("expunge.methods.influence.free_bytes", lambda device: 7199)
    monkeypatch.setattr(Point, "gradient", None)
    match = r"50 gradients of 18 weights, 0\.0 GB.*lower --samples or use --curvature gauss-newton"
    with pytest.raises(BadInput, match=match):
        step(problem, theta, samples=50)


def test_what_fits_or_is_unknown_or_needs_no_gradients_of_rows_is_done(monkeypatch):
    problem, theta = logistic(), start()
    for room, how in (
        (7200, {"samples": 50}),
        (None, {"samples": 50}),
        (0, {"curvature": "gauss-newton"}),
        (0, {"samples": 50, "running": True}),  # one after the other
    ):
        monkeypatch.setattr("expunge.methods.influence.free_bytes", lambda device, room=room: room)
        assert step(problem, theta, **how).abs().max() > 0
