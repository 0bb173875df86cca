"""SCRUB: ascent and descent by hand on linear models, and which epoch comes back."""

import copy
from dataclasses import replace

import pytest
import torch

from expunge.contract.problems import (
    batchnorm,
    batchnorm64,
    logistic,
    mlp,
    ridge,
    tiny,
    tiny64,
)
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.methods.scrub import forget_error, put_back, unseen_error, unseen_weight
from expunge.rng import seeded

from .by_hand import WHOLE, descended, model, models, pull, rows_of, start, weight

LR, GAMMA, ALPHA, T = 0.1, 0.7, 0.4, 2.0
HOW = {"lr": LR, "gamma": GAMMA, "alpha": ALPHA, "temperature": T}


def slopes(problem, theta):
    """The gradients of a pass over F and of one over R; the original is `theta`."""
    (x_f, _), (x_r, y_r) = (rows_of(problem, rows) for rows in (problem.forget, problem.retain))
    p_f, p_r = ((x @ theta.T / T).softmax(1) for x in (x_f, x_r))

    def away(t):
        return -pull(t, x_f, p_f, T) + problem.recipe.l2 * t

    def stay(t):
        keep, apart = pull(t, x_r, y_r), pull(t, x_r, p_r, T)
        return GAMMA * keep + ALPHA * apart + problem.recipe.l2 * t

    return away, stay


@pytest.mark.parametrize("ascent_epochs", [0, 1, 2, 3, 9])
def test_a_run_on_a_linear_model_by_hand(ascent_epochs):
    problem, theta = logistic(), start()
    away, stay = slopes(problem, theta)
    passes = [[away, stay] if epoch < ascent_epochs else [stay] for epoch in range(3)]
    wanted = descended(theta, LR, [slope for epoch in passes for slope in epoch])
    chosen = method("scrub", epochs=3, ascent_epochs=ascent_epochs, **HOW, **WHOLE)
    found = weight(chosen(problem, model(theta), seed=0).models)
    assert (found - wanted).abs().max() < 1e-12


def test_the_first_pass_over_forgotten_rows_moves_nothing():
    """The student is the original there, so that the slope of their distance is zero.

    Forgetting begins in the second epoch, after a pass over retained rows has moved the student;
    in a linear model without decay one epoch of ascent is no ascent at all. (With dropout or
    batch norm the student, in training mode, is not the original from the start.)
    """
    problem, theta = tiny64(logistic().recipe.build), start()
    how = {**HOW, "forget_batch_size": 2, "batch_size": 1000}
    steps = []

    def watch(before):
        return lambda step, group: steps.append(weight(group).clone())

    once = method("scrub", epochs=1, ascent_epochs=1, **how)
    found = once(problem, model(theta), MethodInputs(watch=watch), seed=0).models
    assert max(float((w - theta).abs().max()) for w in steps[:4]) < 1e-14
    assert (steps[4] - theta).abs().max() > 1e-3
    never = method("scrub", epochs=1, ascent_epochs=0, **how)
    assert (weight(found) - weight(never(problem, model(theta), seed=0).models)).abs().max() < 1e-14


def test_batch_norm_sets_the_student_apart_from_the_start():
    problem, steps = tiny64(batchnorm64), []
    with seeded(0):
        made = Ensemble.of(batchnorm64())

    def watch(before):
        return lambda step, group: steps.append(group.tensors()["0.weight"].clone())

    method("scrub", epochs=1, ascent_epochs=1, **HOW, **WHOLE)(
        problem, made, MethodInputs(watch=watch), seed=0
    )
    assert (steps[1] - steps[0]).abs().max() > 1e-4


def test_the_original_stays_the_teacher_of_each_member():
    problem, thetas = logistic(), [start(k) for k in range(3)]
    chosen = method("scrub", epochs=3, ascent_epochs=2, **HOW, **WHOLE)
    found = chosen(problem, models(thetas, group=2), seed=0).models
    for k, theta in enumerate(thetas):
        away, stay = slopes(problem, theta)
        wanted = descended(theta, LR, [away, stay, away, stay, stay])
        assert (weight(found, k) - wanted).abs().max() < 1e-12


def test_the_price_counts_passes_that_are_made():
    """Per epoch of ascent 6 forgotten rows, per epoch 54 retained ones, the original's too."""
    for ascent_epochs, away in ((0, 0), (2, 2), (9, 3)):
        chosen = method("scrub", epochs=3, ascent_epochs=ascent_epochs, **WHOLE)
        assert chosen.price(logistic()).row_units == 4 * (3 * 54 + away * 6)


# ---- rewinding


def trained(build, ids, group: int) -> tuple:
    """Networks that know their rows, of 60 rows and 30 for validation."""
    problem, made = tiny(build), []
    for k in ids:
        with seeded(k):
            made.append(build())
    before = Ensemble.stack(made, ids, group)
    tuned = method("fine-tune", epochs=60, lr=0.1)(problem.forgetting([0]), before, seed=0)
    return problem, tuned.models


def wrong_by_hand(module, data, rows):
    module.eval()
    with torch.no_grad():
        return module(data.inputs[rows]).argmax(1) != data.targets[rows]


FOUR = (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("build", "ids", "group"), [(mlp, FOUR, 4), (batchnorm, FOUR, 3), (mlp, [1], 1)]
)
def test_the_epoch_nearest_to_the_unseen_error_comes_back(build, ids, group):
    problem, made = trained(build, ids, group)
    how = {"epochs": 5, "ascent_epochs": 5, "lr": 0.03, "alpha": 0.1, "forget_batch_size": 3}
    epochs: list[tuple] = []  # of each group in turn

    def watch(before):
        ends = [5 * k for k in range(1, 6)]  # two batches of F, three of R

        def look(step, group):
            if step in ends:
                kept = {n: t.clone() for n, t in group.tensors().items()}
                epochs.append((group.ids, kept, copy.deepcopy([*group.modules()])))

        return look

    last = method("scrub", **how, batch_size=18)(problem, made, MethodInputs(watch=watch), seed=0)
    back = method("scrub", **how, batch_size=18, rewind=True)(problem, made, seed=0)
    classes = problem.train.targets[problem.forget]
    chosen = []
    for k, member in enumerate(made.ids):
        kept, states = [], []
        for those, state, modules in epochs:
            if member in those:
                place = those.index(member)
                states.append({n: t[place] for n, t in state.items()})
                wrong = wrong_by_hand(modules[place], problem.train, problem.forget)
                kept.append(float(wrong.double().mean()))
                end = modules[place]
        # a class counts as often as it occurs among forgotten rows
        of_class = [
            float(wrong_by_hand(end, problem.validation, rows).double().mean())
            for c in classes
            for rows in [(problem.validation.targets == c).nonzero().squeeze(1)]
        ]
        goal = sum(of_class) / len(of_class)
        gaps = [abs(error - goal) for error in kept]
        assert len(gaps) == 5
        chosen.append(gaps.index(min(gaps)))
        for name, found in back.models.tensors().items():
            assert torch.equal(found[k], states[chosen[-1]][name]), name
            assert torch.equal(last.models.tensors()[name][k], states[-1][name])
    assert min(chosen) < 4  # so that going back is seen
    if len(ids) > 1:
        assert len({*chosen}) > 1  # and that each member goes back on its own


@pytest.mark.parametrize("count", [1, 2])
def test_weights_and_buffers_are_put_back_by_member(count):
    with seeded(0):
        made = Ensemble.stack([batchnorm() for _ in range(count)], range(count), count)
    kept = [
        {name: torch.full_like(t, 10.0 * epoch) for name, t in made.tensors().items()}
        for epoch in range(3)
    ]
    for one in kept:
        for t in one.values():
            t += torch.arange(count).view(-1, *[1] * (t.ndim - 1)).to(t.dtype)
    chosen = torch.tensor([2, 0][:count])
    put_back(made, kept, chosen)
    assert "1.running_mean" in made.tensors()
    for t in made.tensors().values():
        assert (t[0] == 20).all()
        assert count == 1 or (t[1] == 1).all()


def test_errors_are_counted_by_member_and_weighted_by_class():
    """Forgotten rows are of the classes 0, 0 and 1; the models always say 0 and always say 1."""
    problem = tiny64()
    y = problem.train.targets
    rows = [*(y == 0).nonzero()[:2, 0].tolist(), int((y == 1).nonzero()[0])]
    problem = problem.forgetting(rows)
    nets = []
    for answer in (0, 1):
        with seeded(0):
            net = tiny64().recipe.build()
        with torch.no_grad():
            net[2].bias[answer] = 1e3
        nets.append(net)
    made = Ensemble.stack(nets, (0, 1), 2)
    assert forget_error(problem, made).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert unseen_error(problem, made, unseen_weight(problem)).tolist() == pytest.approx(
        [1 / 3, 2 / 3]
    )


def test_rewinding_needs_classes_and_unseen_rows_of_them_before_any_step(monkeypatch):
    monkeypatch.setattr("expunge.methods.finetune.descend", None)
    theta = torch.ones(1, 6).double()
    with pytest.raises(BadInput, match="scrub with rewind on a regression.*without --rewind"):
        method("scrub", rewind=True)(ridge(), model(theta), seed=0)
    problem = logistic()
    problem = problem.forgetting((problem.train.targets == 1).nonzero()[:3, 0])
    other = problem.validation.targets != 1
    data = TensorData(problem.validation.inputs[other], problem.validation.targets[other])
    problem = replace(problem, validation=data)
    with pytest.raises(BadInput, match="no validation row has the class of a forgotten row"):
        method("scrub", rewind=True)(problem, model(start()), seed=0)
