"""Methods that give forgotten rows another target: uniform-label and random-label."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.problems import CLASSES, FORGET, at, linear, logistic, ridge, tiny64
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import method
from expunge.rng import seeded

from .by_hand import (
    WHOLE,
    Recording,
    descended,
    model,
    pull,
    rows_of,
    start,
    two_classes,
    weight,
)

# ---- uniform-label


def test_uniform_label_pulls_forgotten_rows_to_the_uniform_distribution():
    problem, theta = logistic(), start()
    (x_f, _), (x_r, y_r) = (rows_of(problem, rows) for rows in (problem.forget, problem.retain))
    uniform = torch.full((len(x_f), CLASSES), 1 / CLASSES, dtype=x_f.dtype)

    def slope(t):
        return pull(t, x_f, uniform) + 0.3 * pull(t, x_r, y_r) + problem.recipe.l2 * t

    chosen = method("uniform-label", epochs=3, lr=0.1, alpha=0.3, **WHOLE)
    found = weight(chosen(problem, model(theta), seed=0).models)
    assert (found - descended(theta, 0.1, [slope] * 3)).abs().max() < 1e-12


def test_uniform_label_pulls_the_answers_of_a_regression_to_zero():
    problem, theta = ridge(), torch.linspace(-1, 1, 6).double()[None]
    x, y = problem.train.inputs, problem.train.targets
    f, r = problem.forget, problem.retain

    def slope(t):
        blank = (x[f] @ t.T).T @ x[f] / len(f)
        keep = (x[r] @ t.T - y[r][:, None]).T @ x[r] / len(r)
        return blank + 2.0 * keep + problem.recipe.l2 * t

    chosen = method("uniform-label", epochs=2, lr=0.1, alpha=2.0, **WHOLE)
    found = weight(chosen(problem, at(theta, linear), seed=0).models)
    assert (found - descended(theta, 0.1, [slope] * 2)).abs().max() < 1e-12


def test_uniform_label_makes_the_model_most_unsure_of_the_forgotten_rows():
    problem = tiny64()
    with seeded(0):
        before = Ensemble.of(problem.recipe.build())
    trained = method("fine-tune", epochs=60, lr=0.1)(problem, before, seed=0).models
    chosen = method("uniform-label", epochs=20, lr=0.05, alpha=5.0, **WHOLE)
    after = chosen(problem, trained, seed=0).models

    def entropy(models, rows):
        p = models.outputs(problem.task, problem.train, rows).softmax(-1)
        return float(-(p * p.log()).sum(-1).mean())

    rise = {
        name: entropy(after, rows) - entropy(trained, rows)
        for name, rows in (("forget", problem.forget), ("retain", problem.retain))
    }
    assert rise["forget"] > 0.25
    assert rise["forget"] > rise["retain"] + 0.05  # their neighbours come along


# ---- random-label


def test_random_label_of_two_classes_by_hand():
    """Of two classes the other one is drawn, so that nothing is random."""
    problem, theta = two_classes(), start(classes=2)
    (x_f, y_f), (x_r, y_r) = (rows_of(problem, rows) for rows in (problem.forget, problem.retain))

    def slope(t):
        return pull(t, x_f, 1 - y_f) + 0.3 * pull(t, x_r, y_r) + 0.1 * t

    chosen = method("random-label", epochs=3, lr=0.1, alpha=0.3, **WHOLE)
    found = weight(chosen(problem, model(theta), seed=0).models)
    assert (found - descended(theta, 0.1, [slope] * 3)).abs().max() < 1e-12


def test_sequential_random_label_of_two_classes_by_hand():
    """As published code: first the forgotten rows, then the retained ones, with no weight."""
    problem, theta = two_classes(), start(classes=2)
    (x_f, y_f), (x_r, y_r) = (rows_of(problem, rows) for rows in (problem.forget, problem.retain))

    def away(t):
        return pull(t, x_f, 1 - y_f) + 0.1 * t

    def stay(t):
        return pull(t, x_r, y_r) + 0.1 * t

    chosen = method("random-label", epochs=2, lr=0.1, sequential=True, **WHOLE)
    found = weight(chosen(problem, model(theta), seed=0).models)
    assert (found - descended(theta, 0.1, [away, stay] * 2)).abs().max() < 1e-12


def recorded(**settings):
    """The rows and targets of each loss, and the true classes."""
    problem = replace(logistic(), task=Recording())
    chosen = method("random-label", lr=0.0, **settings)
    chosen(problem, model(start()), seed=0)
    return problem.task.seen, problem.train.targets


def test_sequential_runs_all_forgotten_batches_of_an_epoch_before_the_retained_ones():
    seen, truth = recorded(epochs=3, batch_size=20, forget_batch_size=3, sequential=True)
    forget = {*FORGET}
    kinds = ["F" if {*rows} <= forget else "R" for rows, _ in seen]
    assert "".join(kinds) == "FFRR" * 3
    for rows, targets in seen:
        own = truth[rows].tolist()
        if {*rows} <= forget:
            assert all(t != y for t, y in zip(targets, own, strict=True))
        else:
            assert not {*rows} & forget
            assert targets == own
    passes = [seen[k][0] + seen[k + 1][0] for k in (0, 4, 8)]
    assert all({*one} == forget for one in passes)
    assert len({tuple(one) for one in passes}) == 3  # each in a fresh order
    retained = [tuple(seen[k][0]) for k in (2, 6, 10)]
    assert len({*retained}) == 3


def test_together_each_step_has_retained_rows_and_relabelled_ones():
    seen, truth = recorded(epochs=2, batch_size=20, forget_batch_size=3)
    assert len(seen) == 2 * 2 * 2
    for (kept, own), (gone, other) in zip(seen[::2], seen[1::2], strict=True):
        assert not {*kept} & {*FORGET}
        assert own == truth[kept].tolist()
        assert {*gone} <= {*FORGET}
        assert all(t != y for t, y in zip(other, truth[gone].tolist(), strict=True))


def shifts(**settings):
    """(drawn - true) mod C for each forgotten row of 150 epochs, counted: 900 draws."""
    seen, truth = recorded(epochs=150, **WHOLE, **settings)
    found = [
        (torch.tensor(targets) - truth[rows]) % CLASSES
        for rows, targets in seen
        if {*rows} == {*FORGET}
    ]
    return torch.cat(found).bincount(minlength=CLASSES).double()


def within(counts, p):
    """Five standard deviations, 0.08 in probability; a false alarm once in a million runs."""
    n = float(counts.sum())
    assert n == 150 * len(FORGET)
    return ((counts - n * p).abs() <= 5 * (n * p * (1 - p)) ** 0.5).all()


@pytest.mark.parametrize("sequential", [False, True])
def test_the_true_label_is_drawn_only_if_allowed(sequential):
    never = shifts(sequential=sequential)
    assert never[0] == 0
    assert within(never[1:], 1 / 2)
    assert within(shifts(sequential=sequential, true_label=True), 1 / CLASSES)


@pytest.mark.parametrize("name", ["random-label", "salun", "salun-soft"])
def test_a_weight_between_losses_that_never_meet_is_refused(name):
    method(name, sequential=True, alpha=1.0)
    with pytest.raises(BadInput, match=f"{name} with sequential and alpha = 0.4.*--sequential"):
        method(name, sequential=True, alpha=0.4)
