"""Linearised retraining at two sizes: ridge regression, where both are known, and networks."""

from dataclasses import replace

import torch

from expunge.attribution import Linearised
from expunge.attribution.two_sizes import TwoSizes
from expunge.contract.problems import at, mlp64, ridge, ridge_optimum, tiny64
from expunge.curvature.leave_out import LeaveOut
from expunge.ensemble import Ensemble
from expunge.rng import seeded

FORGET = torch.tensor([3, 7, 11, 19])
ASKED = {"train": torch.tensor([41, 3, 0]), "test": torch.tensor([5, 2])}


def models(count: int = 3) -> Ensemble:
    with seeded(0):
        return Ensemble.stack([mlp64() for _ in range(count)], range(5, 5 + count), group=1)


def test_the_whole_prediction_is_linearised():
    alone = Linearised(tiny64(), models()).changes(FORGET, ASKED)
    found = TwoSizes(tiny64(), models()).sizes(FORGET, ASKED)
    for split in ASKED:
        assert torch.equal(found[split].whole.mean, alone[split].mean)
        assert torch.equal(found[split].whole.sd, alone[split].sd)
        assert found[split].fewer.shape == found[split].half.shape == alone[split].mean.shape


def ridge_parts(monkeypatch, damping: float):
    """Of a ridge regression that is at no optimum, with the curvature of all retained rows."""
    monkeypatch.setattr(Linearised, "_sampled", lambda self, problem: len(problem.retain))
    problem = ridge()
    theta = 0.3 * ridge_optimum(problem, problem.present_rows)
    x, y = problem.train.inputs, problem.train.targets.reshape(-1)
    pull = x * (x @ theta.reshape(-1) - y)[:, None]  # the gradient of each row's loss
    attribution = TwoSizes(problem, at(theta), damping=damping, iterations=20)
    rows = torch.arange(80)
    found = attribution.sizes(problem.forget, {"train": rows})["train"]

    def solved(goal, c, there):
        """The forgotten rows' curvature has the share `there`."""
        kept, gone = x[problem.retain], x[problem.forget]
        matrix = (1 - there) * kept.T @ kept / len(kept) + there * gone.T @ gone / len(gone)
        return x[rows] @ torch.linalg.solve(matrix + c * torch.eye(len(goal)).double(), goal)

    return problem, pull, found, solved


def test_fewer_rows_are_the_average_rows_pull(monkeypatch):
    """As many average rows as are forgotten, by the same damped inverse."""
    problem, pull, found, solved = ridge_parts(monkeypatch, 0.1)
    count, kept = len(problem.forget), len(problem.retain)
    expected = solved(count * pull.mean(0) / kept, 0.1, 0.0)
    assert torch.allclose(found.fewer[0, :, 0], expected, atol=1e-9)
    assert expected.abs().max() > 0.01


def test_half_the_rows_weigh_twice_and_train_half_as_long(monkeypatch):
    """And half of the forgotten rows are there."""
    problem, pull, found, solved = ridge_parts(monkeypatch, 0.1)
    count, every = len(problem.forget), len(problem.train)
    own = pull[problem.forget].sum(0) - count * pull.mean(0)
    expected = solved(2 * own / every, 0.2, count / every / 2)
    assert torch.allclose(found.half[0, :, 0], expected, atol=1e-9)
    whole = solved(own / (every - count), 0.1, 0.0)
    assert torch.allclose(found.whole.mean[0, :, 0] - found.fewer[0, :, 0], whole, atol=1e-9)
    assert expected.abs().max() > 0.01


def test_the_damping_of_half_a_training_follows_from_the_recipe(monkeypatch):
    """30 rows make half as many steps as 60: without a penalty, training goes half as far."""
    used = []
    real = LeaveOut.solve
    monkeypatch.setattr(
        LeaveOut, "solve", lambda self, *args: used.append(self.damping) or real(self, *args)
    )
    problem = tiny64()
    steps = problem.recipe.steps(60) / problem.recipe.steps(30)
    TwoSizes(problem, models(1)).steps(FORGET)
    l2 = problem.recipe.l2
    fewer, half, whole = used
    assert whole == fewer
    assert abs((half - l2) / (whole - l2) - steps) < 1e-9


def test_each_model_is_predicted_alone_as_among_others():
    together = TwoSizes(tiny64(), models()).sizes(FORGET, ASKED)
    for k, module in enumerate(models().modules()):
        alone = TwoSizes(tiny64(), Ensemble.of(module, 5 + k)).sizes(FORGET, ASKED)
        for split in ASKED:
            for part in ("fewer", "half"):
                own, lone = (getattr(s[split], part) for s in (together, alone))
                assert torch.equal(own[k], lone[0])


def test_steps_found_before_serve_all_parts():
    first = TwoSizes(tiny64(), models())
    again = TwoSizes(replace(tiny64()), models())
    again.remember(FORGET, first.steps(FORGET))
    expected, found = (a.sizes(FORGET, ASKED)["test"] for a in (first, again))
    assert torch.equal(found.half, expected.half)
    assert torch.equal(found.fewer, expected.fewer)
