"""Boundary shrink: the label across the boundary by hand, and what is done with it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import CLASSES, FEATURES, logistic, ridge
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.problem import Classification, Problem
from expunge.rng import seeded

from .by_hand import (
    WHOLE,
    Recording,
    descended,
    model,
    models,
    pull,
    rows_of,
    start,
    two_classes,
    weight,
)

BATCH = {"batch_size": WHOLE["batch_size"]}


def across(problem, theta: Tensor, eps: float, true_label: bool) -> Tensor:
    """The label of each forgotten row: the slope of the loss in x is (p - y) theta."""
    x, y = rows_of(problem, problem.forget)
    slope = ((x @ theta.T).softmax(1) - y) @ theta
    moved = (x + eps * slope.sign()) @ theta.T
    return (moved if true_label else moved.masked_fill(y.bool(), -torch.inf)).argmax(1)


def taught(problem, theta: Tensor, **settings) -> Tensor:
    """The labels that the method trains on, in the order of forgotten rows."""
    task = Recording(problem.task.classes)
    chosen = method("boundary-shrink", epochs=1, lr=0.0, **settings, **BATCH)
    chosen(replace(problem, task=task), model(theta), seed=0)
    (_, true), (rows, labels) = task.seen  # once to find the labels, once to train
    assert true == problem.train.targets[problem.forget].tolist()
    return torch.tensor(labels)[torch.tensor(rows).argsort()]


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("true_label", [False, True])
def test_the_label_is_that_of_the_row_after_a_step_up_the_loss(eps, true_label):
    for problem in (logistic().forgetting(range(30)), two_classes()):
        theta = start(classes=problem.task.classes)
        found = taught(problem, theta, eps=eps, true_label=true_label)
        assert torch.equal(found, across(problem, theta, eps, true_label))


def test_the_step_and_the_rule_for_the_true_label_are_seen_above():
    """At 0.5 some rows cross and some fall short; a step down the loss gives other labels."""
    problem, theta = logistic().forgetting(range(30)), start()
    truth = problem.train.targets[problem.forget]
    right, short = (int((across(problem, theta, eps, True) == truth).sum()) for eps in (0.0, 0.5))
    assert 0 < short < right
    for other in (0.0, -0.5):
        assert not torch.equal(
            across(problem, theta, 0.5, False), across(problem, theta, other, False)
        )


def test_the_true_label_is_kept_only_if_asked_for_and_the_step_falls_short():
    """Two classes on a line: the weights 1 and -1, the row 0.3 from the boundary."""
    data = TensorData(torch.tensor([[0.3], [-2.0], [2.0]]).double(), torch.tensor([0, 1, 0]))
    problem = Problem(Classification(2), data, data).forgetting([0])
    theta = torch.tensor([[1.0], [-1.0]]).double()
    labels = {
        (eps, kept): int(taught(problem, theta, eps=eps, true_label=kept))
        for eps in (0.29, 0.31)
        for kept in (False, True)
    }
    assert labels == {(0.29, False): 1, (0.31, False): 1, (0.29, True): 0, (0.31, True): 1}


@pytest.mark.parametrize("group", [1, 3])
def test_each_member_descends_on_its_own_labels_and_on_forgotten_rows_alone(group):
    """The labels are those of the start, and the recipe's l2 is left out."""
    problem, thetas = logistic(), [start(k) for k in range(3)]
    chosen = method("boundary-shrink", epochs=4, lr=0.1, eps=0.5, **BATCH)
    found = chosen(problem, models(thetas, group), seed=0).models
    x, _ = rows_of(problem, problem.forget)
    labels = [across(problem, theta, 0.5, False) for theta in thetas]
    assert len({tuple(own.tolist()) for own in labels}) == 3
    for k, theta in enumerate(thetas):
        wanted = torch.eye(CLASSES).double()[labels[k]]

        def slope(t, wanted=wanted):
            return pull(t, x, wanted)

        assert (weight(found, k) - descended(theta, 0.1, [slope] * 4)).abs().max() < 1e-12


def test_rows_find_their_labels_in_batches_of_any_order():
    """Every batch of two, taught in the order of each pass, has the labels of its own rows."""
    problem = replace(logistic(), task=Recording())
    theta = start(3)
    chosen = method("boundary-shrink", epochs=3, lr=0.0, eps=0.5, batch_size=2)
    chosen(problem, model(theta), seed=0)
    own = dict(
        zip(problem.forget.tolist(), across(problem, theta, 0.5, False).tolist(), strict=True)
    )
    taught_batches = problem.task.seen[1:]
    assert len(taught_batches) == 3 * 3
    assert len({tuple(rows) for rows, _ in taught_batches}) > 6
    for rows, labels in taught_batches:
        assert labels == [own[row] for row in rows]


def test_masked_weights_keep_their_bits():
    problem, theta = logistic(), start()
    free = torch.zeros(CLASSES, FEATURES, dtype=torch.bool)
    free[:, 1::2] = True
    chosen = method("boundary-shrink", epochs=3, lr=0.1, **BATCH)
    inputs = MethodInputs(mask={"weight": free})
    found = weight(chosen(problem, model(theta), inputs, seed=0).models)
    assert torch.equal(found != theta, free)


class Embedded(nn.Module):
    """Reads whole numbers, or a pair of tensors."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(5, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        x = x["words"] if isinstance(x, dict) else x
        return self.head(self.table(x).mean(1))


def test_inputs_along_which_no_step_can_be_made_are_refused():
    words, truth = torch.arange(12).reshape(6, 2) % 5, torch.arange(6) % 3
    with seeded(0):
        net = Embedded()
    cases = {"torch.int64": words, "dict": {"words": words}}
    for kind, inputs in cases.items():
        data = TensorData(inputs, truth)
        problem = Problem(Classification(CLASSES), data, data).forgetting([1])
        with pytest.raises(BadInput, match=f"inputs of {kind} for boundary-shrink.*random-label"):
            method("boundary-shrink")(problem, Ensemble.of(net), seed=0)


def test_a_regression_has_no_boundary():
    with pytest.raises(BadInput, match="boundary-shrink on a regression.*no classes to move to"):
        method("boundary-shrink")(ridge(), model(start(classes=1)), seed=0)


def test_the_labels_are_paid_for():
    """Two forward passes and one backward: 4 row units a forgotten row."""
    problem = logistic()
    chosen = method("boundary-shrink", epochs=2, **BATCH)
    paid = chosen(problem, model(start()), seed=0).cost
    assert paid.row_units == 3 * 2 * 6 + 4 * 6
