"""Bad teacher: whose answers are matched on which rows, by hand on linear models."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import logistic, mlp64, softmax_linear, tiny64
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import method
from expunge.rng import Draws, seeded

from .by_hand import Watching, model, models, pull, rows_of, start, weight

SEED = 6


def teacher(member: int = 0, seed: int = SEED, build=softmax_linear) -> nn.Module:
    """The untrained model of a member."""
    draws = Draws((seed, "unlearn", "bad-teacher")).of([member])
    with seeded(draws.at("untrained").seeds()[0]):
        return build().requires_grad_(False)


def slope(problem, theta: Tensor, t: Tensor, bad: Tensor, temperature: float) -> Tensor:
    """The gradient at `t`: forgotten rows are taught by `bad`, retained ones by `theta`."""
    x_f, _ = rows_of(problem, problem.forget)
    x_r, _ = rows_of(problem, problem.retain)
    wanted = [(x @ w.T / temperature).softmax(1) for x, w in ((x_f, bad), (x_r, theta))]
    return pull(t, torch.cat([x_f, x_r]), torch.cat(wanted), temperature)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradients_of_a_linear_model_by_hand(temperature):
    """Adam forgets the size of a gradient, so the gradients themselves are compared."""
    problem, theta, look = logistic(), start(), Watching()
    chosen = method(
        "bad-teacher", epochs=3, lr=0.05, share=1.0, batch_size=1000, temperature=temperature
    )
    chosen(problem, model(theta), look.inputs, seed=SEED)
    bad = teacher().weight
    assert len(look.gradients) == 3
    for before, found in zip(look.weights, look.gradients, strict=False):
        wanted = slope(problem, theta, before["weight"], bad, temperature)
        assert (found["weight"] - wanted).abs().max() < 1e-12
    first = slope(problem, theta, theta, bad, temperature)
    assert first.abs().max() > 0.01


def test_steps_are_those_of_adam():
    problem, theta = logistic(), start()
    chosen = method("bad-teacher", epochs=3, lr=0.05, share=1.0, batch_size=1000)
    found = weight(chosen(problem, model(theta), seed=SEED).models)
    t, bad = theta.clone(), teacher().weight
    m = v = torch.zeros_like(theta)
    for step in (1, 2, 3):
        g = slope(problem, theta, t, bad, 1.0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        t = t - 0.05 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    assert (found - t).abs().max() < 1e-12


def test_forgotten_rows_come_to_be_as_an_untrained_model_has_them_and_others_stay():
    problem = tiny64()
    with seeded(0):
        net = Ensemble.of(mlp64())
    before = method("fine-tune", epochs=60, lr=0.1)(problem, net, seed=0).models
    chosen = method("bad-teacher", epochs=100, lr=0.01, share=1.0)
    after = chosen(problem, before, seed=SEED).models
    bad = Ensemble.of(teacher(build=mlp64))

    def apart(one, two, rows):
        p, q = (
            m.outputs(problem.task, problem.train, rows)[0].double().log_softmax(1)
            for m in (one, two)
        )
        return float((p.exp() * (p - q)).sum(1).mean())

    forget, retain = problem.forget, problem.retain
    assert apart(bad, after, forget) < 0.5 * apart(bad, before, forget)
    assert apart(before, after, retain) < 0.5 * apart(bad, before, retain)
    assert apart(before, after, forget) > 2 * apart(before, after, retain)


def test_every_member_has_an_untrained_teacher_of_its_own():
    problem, thetas = logistic(), [start(k) for k in range(3)]
    chosen = method("bad-teacher", epochs=1, share=1.0, batch_size=1000)
    for group in (1, 2, 3):
        look = Watching()
        chosen(problem, models(thetas, group), look.inputs, seed=SEED)
        found = torch.cat([g["weight"].reshape(-1, *thetas[0].shape) for g in look.gradients])
        for k, theta in enumerate(thetas):
            wanted = slope(problem, theta, theta, teacher(k).weight, 1.0)
            assert (found[k] - wanted).abs().max() < 1e-12
    drawn = [teacher(k).weight for k in range(3)] + [teacher(0, seed=7).weight]
    assert len({float(w[0, 0]) for w in drawn}) == 4


@pytest.mark.parametrize(("share", "retained"), [(0.0, 0), (0.3, 16), (0.5, 27), (1.0, 54)])
def test_a_share_of_the_retained_rows_is_visited_the_same_in_every_epoch(share, retained):
    problem, seen = logistic(), []

    class Noting(type(problem.task)):
        def distance(self, outputs, teacher, batch, temperature=1.0):
            seen.append(batch.rows.tolist())
            return super().distance(outputs, teacher, batch, temperature)

    noting = replace(problem, task=Noting(3))
    chosen = method("bad-teacher", epochs=3, share=share, batch_size=1000)
    cost = chosen(noting, model(start()), seed=SEED).cost
    assert len(seen) == 3
    assert len({frozenset(rows) for rows in seen}) == 1
    forget = {*problem.forget.tolist()}
    assert forget <= {*seen[0]}
    assert len({*seen[0]} - forget) == len(seen[0]) - 6 == retained
    assert seen[0] != seen[1]  # in one mixed stream, in a fresh order
    assert {*seen[0][:6]} != forget or share == 0
    assert cost.row_units == 5 * 3 * (6 + retained)  # the teachers' two forward passes included


def test_without_a_recipe_a_copy_of_the_model_is_drawn_again():
    problem, theta, look = logistic(), start(), Watching()
    bare = replace(problem, recipe=None)
    chosen = method("bad-teacher", epochs=1, share=1.0, batch_size=1000)
    chosen(bare, model(theta), look.inputs, seed=SEED)
    draws = Draws((SEED, "unlearn", "bad-teacher")).of([0]).at("untrained")
    drawn = model(theta).template
    with seeded(draws.seeds()[0]):
        drawn.reset_parameters()
    wanted = slope(problem, theta, theta, drawn.weight.detach(), 1.0)
    assert (look.gradients[0]["weight"] - wanted).abs().max() < 1e-12


class Own(nn.Module):
    """A matrix of its own, which nothing draws again."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6, 3))

    def forward(self, x):
        return x @ self.scale


def test_a_model_that_cannot_be_drawn_again_is_refused():
    bare = replace(logistic(), recipe=None)
    with pytest.raises(BadInput, match="'scale' cannot be drawn again.*choose another method"):
        method("bad-teacher")(bare, Ensemble.of(Own().double()), seed=0)
