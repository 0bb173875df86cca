"""Linearised retraining: what is predicted, what is solved for it, and what it depends on."""

from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from expunge.attribution import Linearised
from expunge.attribution.damping import damping_of, travel
from expunge.contract.problems import CLASSES, Fused, batchnorm64, mlp64, tiny, tiny64
from expunge.curvature.leave_out import LeaveOut, moved
from expunge.curvature.point import Point
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Problem
from expunge.rng import seeded

FORGET = torch.tensor([3, 7, 11, 19])
ASKED = {"train": torch.tensor([41, 3, 0]), "test": torch.tensor([5, 2])}
QUICK = {"damping": 0.1, "iterations": 2}


@cache
def models(build=mlp64, count: int = 3) -> Ensemble:
    with seeded(0):
        return Ensemble.stack([build() for _ in range(count)], range(5, 5 + count), group=1)


def linearised(problem: Problem | None = None, own: Ensemble | None = None, **settings):
    return Linearised(problem or tiny64(), own or models(), **{**QUICK, **settings})


def alone(member: int, build=mlp64) -> Ensemble:
    """One of the three models by itself, under its own number."""
    whole = models(build)
    return Ensemble.of(list(whole.modules())[member], whole.ids[member])


def said(problem: Problem, module, split: str, rows: Tensor) -> Tensor:
    own = Ensemble.of(module)
    with own.mode(training=False), torch.no_grad():
        (batch,) = problem.splits[split].batches([rows])
        return problem.task.outputs(module, batch)


# ---- what is predicted


@pytest.mark.parametrize("build", [mlp64, batchnorm64])
def test_each_model_gets_the_derivative_along_its_own_step(build):
    """By finite differences; the standard error is how far the step itself leads elsewhere."""
    problem, own = tiny64(build), models(build)
    attribution = linearised(problem, own)
    found = attribution.changes(FORGET, ASKED)
    for k, (module, step) in enumerate(zip(own.modules(), attribution.steps(FORGET), strict=True)):
        point, size = Point(problem.task, problem.train, module), 1e-6
        here, up, down, there = (
            {
                s: said(problem, moved(point, {n: f * d for n, d in step.items()}).module, s, rows)
                for s, rows in ASKED.items()
            }
            for f in (0.0, size, -size, 1.0)
        )
        for split in ASKED:
            slope = (up[split] - down[split]) / (2 * size)
            error = (there[split] - here[split] - slope).abs()
            assert torch.allclose(found[split].mean[k], slope, atol=1e-6)
            assert torch.allclose(found[split].sd[k], error, atol=1e-6)
            assert error.max() > 0


def test_shapes_are_members_rows_and_outputs():
    found = linearised().changes(FORGET, ASKED)
    for split, rows in ASKED.items():
        assert found[split].mean.shape == found[split].sd.shape == (3, len(rows), CLASSES)
        lone = linearised().without(FORGET, rows, split)
        assert all(torch.equal(a, b) for a, b in zip(lone, found[split], strict=True))


# ---- what is solved


@pytest.fixture
def asked_for(monkeypatch):
    """What `LeaveOut.step` is called with, and by which settings."""
    calls = []
    real = LeaveOut.step

    def step(self, point, forget, retained, sample, draws):
        calls.append((self, forget, retained, sample))
        return real(self, point, forget, retained, sample, draws)

    monkeypatch.setattr(LeaveOut, "step", step)
    return calls


def test_the_retained_rows_are_sampled_anew_for_each_model(asked_for):
    problem = tiny64().without(torch.tensor([0, 59]))
    linearised(problem, samples=9, rounds=2, iterations=3).steps(FORGET)
    retain = problem.forgetting(FORGET).retain
    assert len(asked_for) == 3
    for how, forget, retained, sample in asked_for:
        assert how == LeaveOut(0.1, 3, 2)
        assert torch.equal(forget, FORGET)
        assert retained == len(retain) == 54
        assert len(sample.unique()) == 9
        assert torch.isin(sample, retain).all()
    assert not torch.equal(asked_for[0][3], asked_for[1][3])


def test_at_most_half_of_the_retained_rows_are_read(asked_for):
    linearised(own=alone(0)).steps(FORGET)
    linearised(tiny64().without(torch.tensor([0])), alone(0)).steps(FORGET)
    assert [len(call[3]) for call in asked_for] == [28, 28]  # of 56 and of 55


def test_influence_measures_forgotten_rows_too(asked_for):
    many = torch.arange(30)
    linearised(own=alone(0), curvature="all").steps(many)
    _, _, retained, sample = asked_for[0]
    assert retained == 30
    assert len(sample) == 15
    assert 0 < int(torch.isin(sample, many).sum()) < 15


def test_the_damping_follows_from_the_recipe_unless_it_is_named(asked_for):
    problem = tiny64()
    linearised(problem, alone(0), damping=None).steps(FORGET)
    linearised(problem, alone(0), damping=0.7).steps(FORGET)
    nothing: Any = None  # of SGD nothing is measured
    implied = damping_of(problem, nothing, nothing, travel(problem))
    assert [call[0].damping for call in asked_for] == [implied, 0.7]


def test_steps_of_the_last_forget_set_are_remembered(asked_for):
    attribution = linearised(own=alone(0))
    first = attribution.changes(FORGET, ASKED)
    again = attribution.changes(FORGET.flip(0), ASKED)
    assert len(asked_for) == 1
    assert torch.equal(first["test"].mean, again["test"].mean)
    attribution.steps(FORGET[:2])
    attribution.steps(FORGET)
    assert len(asked_for) == 3
    other = linearised(own=alone(0))
    other.remember(FORGET, attribution.steps(FORGET))
    assert torch.equal(other.changes(FORGET, ASKED)["test"].mean, first["test"].mean)
    assert len(asked_for) == 3


# ---- what it depends on


@pytest.mark.parametrize("damping", [0.1, None])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_what_one_model_gets_does_not_depend_on_which_others_are_there(damping, optimizer):
    problem = tiny64(optimizer=partial(optimizer, lr=0.01))
    together = linearised(problem, damping=damping).without(FORGET, ASKED["train"])
    for k in range(3):
        lone = linearised(problem, alone(k), damping=damping).without(FORGET, ASKED["train"])
        assert torch.equal(lone.mean[0], together.mean[k])
        assert torch.equal(lone.sd[0], together.sd[k])


def test_same_seed_same_bits_and_another_seed_another_sample():
    rows = ASKED["train"]
    first, again, other = (linearised(seed=s).without(FORGET, rows).mean for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_the_order_of_the_forgotten_rows_is_irrelevant():
    rows = ASKED["train"]
    found = linearised().without(FORGET, rows).mean
    assert torch.equal(found, linearised().without(FORGET[[2, 0, 3, 1]], rows).mean)
    whatever = linearised(tiny64(forget=(1, 2)))  # rows that the problem forgets play no part
    assert torch.equal(found, whatever.without(FORGET, rows).mean)


def test_the_models_are_left_as_they_were():
    own = alone(0, batchnorm64)
    own.template.train()
    before = {n: t.clone() for n, t in own.tensors().items()}
    linearised(tiny64(batchnorm64), own, rounds=2, damping=None).changes(FORGET, ASKED)
    assert all(torch.equal(t, before[n]) for n, t in own.tensors().items())
    assert all(part.training for part in own.template.modules())


# ---- refusals


def test_forgotten_rows_must_be_present():
    gone = linearised(tiny64().without(torch.tensor([7])))
    with pytest.raises(BadInput, match="row 7 was already forgotten"):
        gone.without(FORGET, ASKED["train"])
    with pytest.raises(BadInput, match="all 60 rows are to be forgotten"):
        linearised().without(torch.arange(60), ASKED["train"])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("damping", 0.0),
        ("damping", -1.0),
        ("damping", float("nan")),
        ("damping", float("inf")),
        ("samples", 0),
        ("iterations", -1),
        ("rounds", 0),
        ("curvature", "forgotten"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting, value):
    with pytest.raises(BadInput, match=f"linearised with {setting} = '?{value}"):
        linearised(**{setting: value})


def test_a_model_without_a_forward_derivative_is_named_with_what_serves_it():
    problem = tiny(Fused)
    with seeded(0):
        models = Ensemble.of(Fused())
    with pytest.raises(
        BadInput, match="a model of Linear, .* cannot linearise.*--attribution trak"
    ):
        Linearised(problem, models).without(torch.tensor([1, 2]), torch.arange(3))
