"""Law 8: on ridge and logistic regression the retrained optimum is known."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.cases import short
from expunge.contract.laws import law
from expunge.contract.problems import (
    at,
    logistic,
    logistic_optimum,
    ridge,
    ridge_optimum,
    softmax_linear,
)
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Change
from expunge.methods import METHODS, MethodInputs, method
from expunge.methods.method import Claim
from expunge.training.from_recipe import train

PROBLEMS = {"ridge": (ridge, ridge_optimum), "logistic": (logistic, logistic_optimum)}

WHOLE = {  # batches of all rows, so that no chance decides the direction
    "epochs": 5,
    "steps": 20,
    "batch_size": 1000,
    "forget_batch_size": 1000,
    "retain_batch_size": 1000,
}


def only_weights(models) -> torch.Tensor:
    (found,) = models.tensors().values()
    return found


def between(problem, start: Ensemble, goal: Ensemble):
    """The exact change of the outputs from one model to another, as an attribution predicts it."""

    def change(split, rows):
        data = problem.splits[split]
        before, after = (m.outputs(problem.task, data, rows)[0].double() for m in (start, goal))
        return Change(after - before, torch.zeros_like(after))

    return change


@pytest.mark.parametrize("case", PROBLEMS)
@law("exact", of=lambda kind: kind.claim is Claim.EXACT)
def test_exact_methods_reach_the_retrained_optimum(kind, case):
    build, optimum = PROBLEMS[case]
    problem = build()
    full, kept = (optimum(problem, rows) for rows in (problem.present_rows, problem.retain))
    models = Ensemble.stack(
        [next(at(full, problem.recipe.build).modules()) for _ in range(3)], range(3), 3
    )
    result = kind()(problem, models, seed=0)
    assert (only_weights(result.models) - kept).abs().max() < 1e-8
    assert (full - kept).abs().max() > 0.05  # so that retraining on all rows would be seen


@law("direction")
def test_the_loss_of_the_forgotten_rows_rises(kind):
    """As it does in retraining: at the optimum on all rows they still had their share."""
    problem = logistic()
    rows = problem.present_rows, problem.retain
    start, goal = (at(logistic_optimum(problem, r), softmax_linear) for r in rows)
    inputs = MethodInputs(between(problem, start, goal), goal)
    result = short(kind, **WHOLE)(problem, start, inputs, seed=0)
    task, (batch,) = problem.task, problem.train.batches([problem.forget])
    before, after = (
        float(task.loss(m.outputs(task, problem.train, problem.forget)[0], batch).mean())
        for m in (start, result.models)
    )
    assert after > before + 1e-6


@pytest.mark.parametrize("case", PROBLEMS)
@law("closer", of=lambda kind: hasattr(kind, "closer"))
def test_methods_move_as_much_closer_as_they_claim(kind, case):
    """From the optimum on all rows; a predicted change is the exact one, a teacher trained."""
    build, optimum = PROBLEMS[case]
    problem = build()
    full, kept = (optimum(problem, rows) for rows in (problem.present_rows, problem.retain))
    start, goal = at(full, problem.recipe.build), at(kept, problem.recipe.build)
    inputs = MethodInputs(between(problem, start, goal), train(problem, "teacher", [0], seed=0)[0])
    most, chosen = kind.closer
    result = kind(**chosen)(problem, start, inputs, seed=0)
    left = (only_weights(result.models)[0] - kept).norm() / (full - kept).norm()
    assert left < most


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_wrong_prediction_leads_dmm_astray(case):
    """The other sign ends twice as far from the retrained optimum as the start is."""
    build, optimum = PROBLEMS[case]
    problem = build()
    full, kept = (optimum(problem, rows) for rows in (problem.present_rows, problem.retain))
    start, goal = at(full, problem.recipe.build), at(kept, problem.recipe.build)
    backwards = MethodInputs(between(problem, goal, start))
    result = method("dmm", **METHODS["dmm"].closer[1])(problem, start, backwards, seed=0)
    ratio = (only_weights(result.models)[0] - kept).norm() / (full - kept).norm()
    assert 1.9 < ratio < 2.1


def test_more_fine_tuning_comes_closer_still():
    problem = ridge()
    full, kept = (ridge_optimum(problem, rows) for rows in (problem.present_rows, problem.retain))
    left = []
    for epochs in (5, 20, 80):
        tuned = method("fine-tune", epochs=epochs, lr=0.05, batch_size=1000)
        result = tuned(problem, at(full, problem.recipe.build), seed=0)
        left.append(float((only_weights(result.models)[0] - kept).norm()))
    assert left[0] > left[1] > left[2]
    assert left[2] < 0.02 * float((full - kept).norm())


def test_fine_tuning_keeps_the_penalty_of_the_recipe():
    """Without it, the end point would be the unpenalised optimum of the retained rows."""
    problem = ridge()
    kept = ridge_optimum(problem, problem.retain)
    bare = replace(problem, recipe=replace(problem.recipe, l2=0.0))
    free = ridge_optimum(bare, problem.retain)
    long = method("fine-tune", epochs=300, lr=0.05, batch_size=1000)
    found = only_weights(long(problem, at(kept + 0.1, problem.recipe.build), seed=0).models)[0]
    assert (found - kept).abs().max() < 1e-6
    assert (found - free).abs().max() > 0.01
