"""Linearised retraining at two sizes: ridge regression, where both are known, and networks."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.attribution import Linearised
from expunge.attribution.damping import damping_of, travel
from expunge.attribution.size_correction import SizeCorrection
from expunge.contract.problems import at, mlp64, ridge, ridge_optimum, tiny64
from expunge.curvature.leave_out import LeaveOut
from expunge.curvature.point import Point
from expunge.engine.ensemble import Ensemble
from expunge.rng import Draws, seeded

FORGET = torch.tensor([3, 7, 11, 19])
ASKED = {"train": torch.tensor([41, 3, 0]), "test": torch.tensor([5, 2])}


def models(count: int = 3) -> Ensemble:
    with seeded(0):
        return Ensemble.stack([mlp64() for _ in range(count)], range(5, 5 + count), group=1)


@pytest.mark.parametrize("settings", [{}, {"rounds": 2}, {"curvature": "all"}, {"samples": 5}])
def test_the_whole_prediction_is_linearised(settings):
    alone = Linearised(tiny64(), models(), **settings).changes(FORGET, ASKED)
    found = SizeCorrection(tiny64(), models(), **settings).sizes(FORGET, ASKED)
    for split in ASKED:
        assert torch.equal(found[split].whole.mean, alone[split].mean)
        assert torch.equal(found[split].whole.sd, alone[split].sd)
        assert found[split].fewer.shape == found[split].half.shape == alone[split].mean.shape


def ridge_parts(monkeypatch, damping: float, rounds: int = 1):
    """Of a ridge regression that is at no optimum, with the curvature of all retained rows."""
    monkeypatch.setattr(Linearised, "_sampled", lambda self, problem: len(problem.retain))
    problem = ridge().without(torch.tensor([0, 41])).forgetting(ridge().forget)
    theta = 0.3 * ridge_optimum(problem, problem.present_rows)
    x, y = problem.train.inputs, problem.train.targets.reshape(-1)
    pull = x * (x @ theta.reshape(-1) - y)[:, None]  # the gradient of each row's loss
    attribution = SizeCorrection(problem, at(theta), damping=damping, iterations=20, rounds=rounds)
    asked = {split: torch.arange(len(problem.splits[split])) for split in ("train", "validation")}
    found = attribution.sizes(problem.forget, asked)
    inputs = torch.cat([x, problem.validation.inputs])

    def solved(goal, c, there):
        """The forgotten rows' curvature has the share `there`."""
        kept, gone = x[problem.retain], x[problem.forget]
        matrix = (1 - there) * kept.T @ kept / len(kept) + there * gone.T @ gone / len(gone)
        return inputs @ torch.linalg.solve(matrix + c * torch.eye(len(goal)).double(), goal)

    def said(part):
        """Of train and validation rows."""
        return torch.cat([part(found[split])[0, :, 0] for split in asked])

    return problem, pull[problem.present_rows].mean(0), pull[problem.forget].sum(0), said, solved


def test_fewer_rows_are_the_average_rows_pull(monkeypatch):
    """As many average rows as are forgotten, by the same damped inverse."""
    problem, average, _, said, solved = ridge_parts(monkeypatch, 0.1)
    count, kept = len(problem.forget), len(problem.retain)
    expected = solved(count * average / kept, 0.1, 0.0)
    assert torch.allclose(said(lambda found: found.fewer), expected, atol=1e-9)
    assert expected.abs().max() > 0.01


@pytest.mark.parametrize("rounds", [1, 2])
def test_half_the_rows_weigh_twice_and_train_half_as_long(monkeypatch, rounds):
    """And half of the forgotten rows are there; one step, however many the whole takes."""
    problem, average, pull, said, solved = ridge_parts(monkeypatch, 0.1, rounds)
    count, every = len(problem.forget), len(problem.present_rows)
    own = pull - count * average
    expected = solved(2 * own / every, 0.2, count / every / 2)
    assert torch.allclose(said(lambda found: found.half), expected, atol=1e-9)
    whole = solved(own / (every - count), 0.1, 0.0)
    found = said(lambda found: found.whole.mean - found.fewer)
    assert torch.allclose(found, whole, atol=1e-9)
    assert expected.abs().max() > 0.01


def test_the_damping_of_half_a_training_follows_from_the_recipe(monkeypatch):
    """29 rows make fewer steps than 58: without a penalty, training goes less far."""
    used = []
    real = LeaveOut.solve
    monkeypatch.setattr(
        LeaveOut, "solve", lambda self, *args: used.append(self.damping) or real(self, *args)
    )
    problem = tiny64(batch_size=2).without(torch.tensor([0, 59]))
    steps = problem.recipe.steps(58) / problem.recipe.steps(29)
    SizeCorrection(problem, models(1)).steps(FORGET)
    l2 = problem.recipe.l2
    fewer, half, whole = used
    assert whole == fewer
    assert abs((half - l2) / (whole - l2) - steps) < 1e-9


def test_half_a_trainings_gradients_are_those_of_the_models_own_draws(monkeypatch):
    """Of Adam: 16 of the rows are read, other ones for each model, by its number."""
    used = []
    real = LeaveOut.solve
    monkeypatch.setattr(
        LeaveOut, "solve", lambda self, *args: used.append(self.damping) or real(self, *args)
    )
    problem = tiny64(batch_size=2, optimizer=partial(torch.optim.Adam, lr=0.01))
    SizeCorrection(problem, models(2)).steps(FORGET)
    for k, module in enumerate(models(2).modules()):
        point = Point(problem.task, problem.train, module)
        draws = Draws((0, "attribution", "linearised", 5 + k))
        whole, half = (
            damping_of(problem, point, draws, travel(problem, rows)) for rows in (60, 30)
        )
        assert used[3 * k : 3 * k + 3] == [whole, half, whole]
        assert half > 1.9 * whole


def test_two_thirds_of_the_rows_or_one_can_be_forgotten():
    for rows in (torch.arange(40), torch.tensor([7])):
        found = SizeCorrection(tiny64(), models(1)).sizes(rows, ASKED)["test"]
        for part in (found.whole.mean, found.fewer, found.half):
            assert part.isfinite().all()
            assert part.abs().max() > 0


def test_each_model_is_predicted_alone_as_among_others():
    together = SizeCorrection(tiny64(), models()).sizes(FORGET, ASKED)
    for k, module in enumerate(models().modules()):
        alone = SizeCorrection(tiny64(), Ensemble.of(module, 5 + k)).sizes(FORGET, ASKED)
        for split in ASKED:
            for part in ("fewer", "half"):
                own, lone = (getattr(s[split], part) for s in (together, alone))
                assert torch.equal(own[k], lone[0])


def test_steps_found_before_serve_all_parts():
    first = SizeCorrection(tiny64(), models())
    again = SizeCorrection(replace(tiny64()), models())
    again.remember(FORGET, first.steps(FORGET))
    expected, found = (a.sizes(FORGET, ASKED)["test"] for a in (first, again))
    assert torch.equal(found.half, expected.half)
    assert torch.equal(found.fewer, expected.fewer)
