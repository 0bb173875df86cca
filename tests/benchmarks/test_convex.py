"""The formulas and descents of benchmarks/convex against twins that are written another way."""

import math
from dataclasses import replace

import pytest
import torch

from benchmarks.convex import descent, runs
from benchmarks.convex import ridge as ridges
from expunge.rng import Draws

SEEDS = 3
EXACT = 1e-12
DESIGNS = {
    "rare": ridges.rare(SEEDS),
    "rare alone": ridges.rare(SEEDS, alone=True),
    "isotropic": ridges.isotropic(SEEDS),
    "long": ridges.isotropic(SEEDS, 3.0),
}


@pytest.fixture(params=DESIGNS)
def ridge(request):
    return DESIGNS[request.param]


def by_least_squares(ridge, rows):
    """The optimum on these rows: least squares with rows sqrt(l2) I added, no Hessian formed."""
    x, y = ridge.x[:, rows], ridge.y[:, rows]
    penalty = math.sqrt(ridge.l2) * torch.eye(x.shape[2], dtype=x.dtype).expand(len(x), -1, -1)
    zeros = y.new_zeros(len(x), x.shape[2])
    goals = torch.cat([y, zeros], 1)[..., None]
    return torch.linalg.lstsq(torch.cat([x, penalty], 1), goals).solution[..., 0]


def ends(ridge):
    return by_least_squares(ridge, ridge.everything), by_least_squares(ridge, ridge.retain)


def error(found, full, star):
    return ((found - star).norm(dim=1) / (full - star).norm(dim=1)).max()


def test_leave_set_out_is_exact(ridge):
    full, star = ends(ridge)
    assert error(ridges.leave_set_out(ridge, full), full, star) < EXACT


@pytest.mark.parametrize(
    "wrong",
    [
        lambda ridge, full: 2 * full - ridges.leave_set_out(ridge, full),
        lambda ridge, full: ridges.leave_set_out(replace(ridge, forget=ridge.retain), full),
        lambda ridge, full: ridges.leave_set_out(replace(ridge, l2=0.0), full),
        ridges.influence,
    ],
    ids=["sign", "forget and retain swapped", "no penalty", "Hessian of all rows"],
)
def test_a_wrong_formula_would_be_seen(ridge, wrong):
    full, star = ends(ridge)
    assert error(wrong(ridge, full), full, star) > 1e9 * EXACT


def test_optima_have_no_gradient(ridge):
    for rows in (ridge.everything, ridge.retain):
        theta = ridge.optimum(rows).requires_grad_()
        (gradient,) = torch.autograd.grad(objective(ridge, rows, theta), theta)
        assert gradient.abs().max() < 1e-10


def test_influence_is_short_by_the_leverage(ridge):
    """In the norm of the full Hessian its relative error is between F's leverages."""
    full, star = ends(ridge)
    metric = ridge.hessian(ridge.everything)

    def length(v):
        return torch.einsum("sd,sde,se->s", v, metric, v).sqrt()

    short = length(ridges.influence(ridge, full) - star) / length(full - star)
    low, *_, high = ridges.leverage(ridge).unbind(1)
    assert ((low - 1e-9 <= short) & (short <= high + 1e-9)).all()
    assert low.min() > 1e-3


def objective(ridge, rows, theta):
    """Summed over seeds, so that one gradient serves all."""
    residual = torch.einsum("snd,sd->sn", ridge.x[:, rows], theta) - ridge.y[:, rows]
    return residual.square().sum() / 2 + ridge.l2 / 2 * theta.square().sum()


def loss_to_the_oracle(ridge, theta, star):
    return torch.einsum("snd,sd->sn", ridge.x, theta - star).square().sum() / 2


def loss_on_few(ridge, theta, star):
    return loss_to_the_oracle(replace(ridge, x=ridge.x[:, ridge.few(3)]), theta, star)


def loss_on_retained(ridge, theta, star):
    return objective(ridge, ridge.retain, theta)


def loss_less_the_forgotten(ridge, theta, star):
    ascent = objective(replace(ridge, l2=0.0), ridge.forget, theta)
    return objective(ridge, ridge.retain, theta) - ascent


@pytest.mark.parametrize(
    ("name", "loss", "curvature"),
    [
        ("ridge descent", loss_on_retained, lambda r: r.hessian(r.retain)),
        ("ascent-descent", loss_less_the_forgotten, lambda r: r.hessian(r.retain)),
        ("matching", loss_to_the_oracle, lambda r: r.gram(r.everything)),
        ("matching, forget + 3x", loss_on_few, lambda r: r.gram(r.few(3))),
    ],
)
def test_descents_are_those_of_their_losses(ridge, name, loss, curvature):
    full, star = ends(ridge)
    step = 1 / torch.linalg.eigvalsh(curvature(ridge))[:, -1:]
    theta = full.clone().requires_grad_()
    for _ in range(20):
        (gradient,) = torch.autograd.grad(loss(ridge, theta, star), theta)
        theta = (theta - step * gradient).detach().requires_grad_()
    seen = torch.log10((theta - star).norm(dim=1) / (full - star).norm(dim=1)).mean()
    found = runs.by_batch(ridge, 20)[name]
    assert found["mean"][found["steps"].index(20)] == pytest.approx(seen.item(), rel=1e-4, abs=1e-4)


def test_few_rows_fix_as_many_rows_as_they_say():
    ridge = DESIGNS["rare"]
    for times in (1, 3, 20):
        rows = ridge.few(times)
        assert rows[ridge.forget].all()
        assert rows.sum() == 5 * (1 + times)


def test_matching_on_fewer_rows_than_weights_keeps_what_they_do_not_see(ridge):
    full, star = ends(ridge)
    rows = ridge.few(1)
    seen = torch.linalg.pinv(ridge.x[:, rows]) @ ridge.x[:, rows]
    first = full - star
    blind = first - torch.einsum("sde,se->sd", seen, first)
    stays = blind.norm(dim=1) / first.norm(dim=1)
    (last,) = runs.matched(ridge, rows, [5000])
    assert torch.allclose(last, stays, rtol=1e-6)
    assert stays.min() > 0.005


def test_ascent_descent_ends_beyond_the_optimum():
    """At -(1 + c) / (1 - c) times the first error along each relative eigenvector, if all c < 1."""
    ridge = DESIGNS["isotropic"]
    full, star = ends(ridge)
    hessian, gram = ridge.hessian(ridge.retain), ridge.gram(ridge.forget)
    root = torch.linalg.cholesky(hessian)
    c, v = torch.linalg.eigh(torch.linalg.solve(root, torch.linalg.solve(root, gram).mT))
    assert c.max() < 1
    part = torch.einsum("sde,sd->se", v, torch.einsum("sde,sd->se", root, full - star))
    beyond = torch.einsum("sde,se->sd", v, -(1 + c) / (1 - c) * part)
    beyond = torch.linalg.solve(root.mT, beyond)
    pull = ridge.pull(ridge.retain) - ridge.pull(ridge.forget)
    end = torch.linalg.solve(hessian - gram, pull)
    assert torch.allclose(end - star, beyond, rtol=1e-8, atol=1e-10)


def row_gradients(rows, theta):
    """Of every row's loss, (chains, rows, d)."""
    residual = torch.einsum("crd,cd->cr", rows.x, theta) - rows.targets
    return residual[..., None] * rows.x + rows.l2 * theta[:, None]


def test_at_the_optimum_rows_pull_with_sgd_and_rest_with_matching(ridge):
    _, star = ends(ridge)
    sgd = row_gradients(runs.retained_rows(ridge), star)
    assert sgd.mean(1).abs().max() < 1e-12
    assert sgd.abs().amax((1, 2)).min() > 1
    matching = row_gradients(runs.matching_rows(ridge), star)
    assert matching.shape == ridge.x.shape
    assert matching.abs().max() < 1e-10


def test_a_step_by_row_is_down_that_rows_gradient():
    rows, star = small(0.1, 1.0)
    one = replace(rows, x=rows.x[:, :1], targets=rows.targets[:, :1])
    theta = start = star + 1.0
    for _ in range(3):
        theta = theta - one.step[:, None] * row_gradients(one, theta)[:, 0]
    (last,) = one.descend(start, star, [3], Draws(("test", "picks")).of(range(2)))
    assert torch.allclose(last, (theta - star).norm(dim=1) / math.sqrt(2), rtol=1e-12)


def small(l2, noise):
    x = Draws(("test", "x")).of(range(2)).normal((6, 2)).double()
    truth = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).double()
    more = noise * Draws(("test", "noise")).of(range(2)).normal((6,)).double()
    rows = descent.Rows(x, torch.einsum("crd,cd->cr", x, truth) + more, l2)
    hessian = x.mT @ x / 6 + l2 * torch.eye(2).double()
    return rows, torch.linalg.solve(hessian, torch.einsum("crd,cr->cd", x, rows.targets) / 6)


def test_cloud_is_where_the_second_moment_comes_to_rest():
    rows, star = small(0.1, 1.0)
    for chain in range(2):
        step, moment = rows.step[chain], torch.zeros(2, 2).double()
        for _ in range(3000):
            following = torch.zeros_like(moment)
            for x, t in zip(rows.x[chain], rows.targets[chain], strict=True):
                a = torch.eye(2).double() - step * (torch.outer(x, x) + 0.1 * torch.eye(2).double())
                g = (x @ star[chain] - t) * x + 0.1 * star[chain]
                following += (a @ moment @ a + step**2 * torch.outer(g, g)) / 6
            moment = following
        start = star + 1.0
        found = rows.floor(start, star)[chain] * math.sqrt(2)
        assert found.item() == pytest.approx(moment.trace().sqrt().item(), rel=1e-9)


def test_only_where_every_row_is_fitted_does_a_constant_step_converge():
    draws = Draws(("test", "picks")).of(range(2))
    for noise, l2 in ((0.0, 0.0), (1.0, 0.0), (0.0, 0.1)):
        rows, star = small(l2, noise)
        (last,) = rows.descend(star + 1.0, star, [4000], draws)
        assert (last.max() < 1e-10) == (noise == 0 and l2 == 0), (noise, l2, last)


@pytest.mark.parametrize(
    ("level", "steps"), [(0.25, 2.0), (0.5, 1.0), (0.75, math.log2(1 / 0.75)), (1e-9, math.inf)]
)
def test_crossing_of_a_line(level, steps):
    errors = 0.5 ** torch.arange(1, 9, dtype=torch.float64)[:, None]
    assert descent.crossing(errors, level).item() == pytest.approx(steps)


def test_runs_tell_the_methods_apart():
    gap = runs.gap(DESIGNS["rare"])
    assert gap["ratio"]["high"] < 0.5
    assert gap["inverse"]["low"] > 2
    found = runs.by_row(DESIGNS["isotropic"], 2000)
    assert found["matching"]["high"][-1] < -2
    assert found["SGD"]["low"][-1] > 0
