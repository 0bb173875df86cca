"""Linearised retraining against retraining: exact for ridge regression, close for a network."""

from dataclasses import replace
from functools import partial

import torch

from expunge.attribution import Linearised
from expunge.contract.problems import at, ridge, ridge_optimum, tiny
from expunge.training.from_recipe import train


def test_ridge_regression_is_predicted_exactly_from_all_retained_rows(monkeypatch):
    """With the damping of the optimum whose penalty of the sum is as before; and no error."""
    monkeypatch.setattr(Linearised, "_sampled", lambda self, problem: len(problem.retain))
    problem = ridge()
    l2 = problem.recipe.l2 * len(problem.train) / len(problem.retain)
    full = ridge_optimum(problem, problem.present_rows)
    kept = ridge_optimum(replace(problem, recipe=replace(problem.recipe, l2=l2)), problem.retain)
    attribution = Linearised(problem, at(full), damping=l2)
    found = attribution.without(problem.forget, torch.arange(80))
    expected = problem.train.inputs @ (kept - full)
    assert (found.mean[0, :, 0] - expected).abs().max() < 1e-8
    assert found.sd.max() < 1e-10


def test_it_predicts_what_retraining_does():
    """20 originals and 20 oracles of a small network, trained well; what means change.

    Of the forgotten rows' logits and of all rows', correlation: 0.94 and 0.86 as measured. And the
    factor by which the truth is larger, 0.8; of classical influence it is half as much again.
    """
    problem = tiny(epochs=30, optimizer=partial(torch.optim.SGD, lr=0.3))
    own, oracles = (
        train(problem, role, range(20), seed=0, group=20)[0] for role in ("original", "oracle")
    )
    rows = torch.arange(60)
    after, before = (m.outputs(problem.task, problem.train, rows).mean(0) for m in (oracles, own))
    actual = after - before - (after - before).mean(-1, keepdim=True)

    def against(**settings) -> tuple[float, float, float]:
        found = Linearised(problem, own, **settings).without(problem.forget, rows).mean.mean(0)
        found = found - found.mean(-1, keepdim=True)
        a, b = found[problem.forget].flatten(), actual[problem.forget].flatten()
        pairs = (torch.stack([a, b]), torch.stack([found.flatten(), actual.flatten()]))
        own_rows, all_rows = (float(torch.corrcoef(pair)[0, 1]) for pair in pairs)
        return own_rows, all_rows, float(a @ b / (a @ a))

    forgotten, everywhere, factor = against()
    assert forgotten > 0.85
    assert everywhere > 0.75
    assert 0.6 < factor < 1.4
    assert against(curvature="all")[2] > 1.3 * factor
