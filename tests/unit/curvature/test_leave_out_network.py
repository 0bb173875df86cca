"""Leave-set-out in networks: where rounds end, what is read, and what is left alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.counting import Counting, Passes
from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    batchnorm64,
    dropout,
    generator,
    half_frozen,
    mlp64,
    tiny64,
)
from expunge.curvature.leave_out import LeaveOut, moved, tangent
from expunge.curvature.point import Point, Weights
from expunge.curvature.products import output_slope
from expunge.rng import Draws, seeded

DRAWS = Draws((0, "test"))
FORGET, RETAIN = torch.tensor([3, 7, 11]), torch.arange(12, 60)


def smooth() -> nn.Module:
    """Without kinks, so that a minimum is where the gradient is zero."""
    return nn.Sequential(nn.Linear(FEATURES, 3), nn.Tanh(), nn.Linear(3, CLASSES)).double()


def point(build=mlp64) -> Point:
    problem = tiny64(build)
    with seeded(0):
        module = build()
    return Point(problem.task, problem.train, module.double())


def direction(here: Point) -> Weights:
    g = generator(4)
    return {n: torch.randn(w.shape, generator=g, dtype=w.dtype) for n, w in here.weights.items()}


def said(here: Point, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([here.task.outputs(here.module, b) for b in here.batches(rows)])


# ---- where rounds end


def test_rounds_end_where_the_docstrings_objective_is_flat():
    """With z(theta + d) - z in the place of J d: each round linearises where the last one led."""
    here, damping = point(smooth), 1.0
    d = LeaveOut(damping, 20, rounds=12).step(here, FORGET, len(RETAIN), RETAIN, DRAWS)
    (kept,), (gone,) = (list(here.data.batches([rows])) for rows in (RETAIN, FORGET))
    before = {batch: said(here, batch.rows) for batch in (kept, gone)}

    def objective(d: Weights) -> Tensor:
        model = here.at({n: w + d[n] for n, w in here.weights.items()})
        change, slope = {}, {}
        for batch, z in before.items():
            change[batch] = here.task.outputs(model, batch) - z
            slope[batch] = output_slope(here.task, batch, z)
        bent = here.task.loss(before[kept] + change[kept], kept)
        divergence = bent - (slope[kept] * change[kept]).sum(1)
        gain = (slope[gone] * change[gone]).sum() / len(RETAIN)
        size = sum(value.square().sum() for value in d.values())
        return divergence.mean() - gain + damping / 2 * size

    nothing = {n: torch.zeros_like(w) for n, w in d.items()}
    ends = [torch.func.grad(objective)(at) for at in (nothing, d)]
    first, last = (max(float(g.abs().max()) for g in end.values()) for end in ends)
    assert first > 1e-3
    assert last < 1e-8
    once = LeaveOut(damping, 20).step(here, FORGET, len(RETAIN), RETAIN, DRAWS)
    assert any(not torch.allclose(once[n], d[n], rtol=0.01) for n in d)


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("build", [batchnorm64, dropout])
def test_a_module_in_training_mode_is_read_in_evaluation_mode(build, rounds):
    """Its statistics stay, its dropout keeps all, in every round; and its mode is given back."""
    here = point(build)
    how = LeaveOut(0.3, 3, rounds)
    here.module.eval()
    expected = how.step(here, FORGET, len(RETAIN), RETAIN, DRAWS)
    before = {n: t.clone() for n, t in here.module.state_dict().items()}
    here.module.train()
    found = how.step(here, FORGET, len(RETAIN), RETAIN, DRAWS)
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    assert all(torch.equal(t, before[n]) for n, t in here.module.state_dict().items())
    assert all(part.training for part in here.module.modules())


def test_frozen_weights_are_no_part_of_the_change():
    here = point(half_frozen)
    found = LeaveOut(0.3, 3, 2).step(here, FORGET, len(RETAIN), RETAIN, DRAWS)
    assert set(found) == {"2.weight", "2.bias"}
    there = moved(here, found)
    assert torch.equal(there.module[0].weight, here.module[0].weight)
    assert not torch.equal(there.module[2].weight, here.module[2].weight)


# ---- moved and tangent


def test_moved_is_a_copy_and_leaves_the_module_as_it_was():
    here = point(batchnorm64)
    step = direction(here)
    before = {n: t.clone() for n, t in here.module.state_dict().items()}
    there = moved(here, step)
    assert there.module is not here.module
    assert all(torch.equal(t, before[n]) for n, t in here.module.state_dict().items())
    for name, weight in there.weights.items():
        assert torch.equal(weight, before[name] + step[name])
    there.module[1].running_mean.add_(1.0)
    assert torch.equal(here.module[1].running_mean, before["1.running_mean"])
    assert (there.task, there.data) == (here.task, here.data)


@pytest.mark.parametrize("build", [smooth, batchnorm64])
def test_the_tangent_is_the_finite_difference(build):
    here = point(build)
    step = direction(here)
    z, change = tangent(here, RETAIN, step)
    assert torch.allclose(z, said(here, RETAIN), atol=1e-12)
    size = 1e-6
    ends = [moved(here, {n: k * size * d for n, d in step.items()}) for k in (1, -1)]
    up, down = (said(end, RETAIN) for end in ends)
    assert torch.allclose(change, (up - down) / (2 * size), atol=1e-6)
    assert change.abs().max() > 1


def test_the_tangent_keeps_the_order_of_rows_and_needs_no_gradient():
    here = point()
    step, rows = direction(here), torch.tensor([41, 3, 17])
    z, change = tangent(here, rows, step)
    z_back, back = tangent(here, rows.flip(0), step)
    assert torch.allclose(back.flip(0), change, atol=1e-12)
    assert torch.allclose(z_back.flip(0), z, atol=1e-12)
    assert not change.requires_grad


# ---- the price


@pytest.mark.parametrize("iterations", [0, 1, 4])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_the_price_is_what_is_read(iterations, rounds):
    """Each product reads a row once, for two forward passes and a tangent, which is two more."""
    here = point(Passes)
    here = replace(here, data=Counting(here.data.inputs, here.data.targets))
    Passes.rows = 0
    how = LeaveOut(0.3, iterations, rounds)
    how.step(here, FORGET, len(RETAIN), RETAIN[:20], DRAWS)
    price = how.price(len(FORGET), 20)
    products = rounds * iterations * 20
    pulls = rounds * len(FORGET) + (rounds - 1) * 20
    assert here.data.read == 1 + 2 * 20 + pulls + products
    assert price.forward_rows == Passes.rows + 2 * products
    assert price.backward_rows == 2 * 20 + pulls + products
    assert price.seconds == 0.0
