"""A recipe's name is what it does."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.problems import SGD, blobs, mlp, tiny
from expunge.problem.recipe import linear
from expunge.store import Store
from expunge.training.recipe_id import recipe_fingerprint


class Edited(nn.Module):
    """The same weights as `mlp`, another forward."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return 1.1 * self.net(x)


class Named(Edited):
    def forward(self, x):
        return self.net(x)


def two_betas(beta):
    return partial(torch.optim.Adam, lr=0.01, betas=(0.9, beta))


def fit(module, data, rows):
    with torch.no_grad():
        module[0].bias.fill_(float(len(rows)))


BASE = {"build": mlp, "optimizer": SGD}
SAME = {
    "another lambda that does the same": {"optimizer": lambda named: SGD(named)},
    "another function that builds the same": {"build": lambda: mlp()},
    "a schedule written otherwise": {"schedule": lambda progress: 1.0},
}
OTHER = {
    "lr": {"optimizer": partial(torch.optim.SGD, lr=0.05)},
    "momentum": {"optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9)},
    "weight decay": {"optimizer": partial(torch.optim.SGD, lr=0.1, weight_decay=0.01)},
    "optimizer": {"optimizer": partial(torch.optim.Adam, lr=0.1)},
    "forward": {"build": Edited},
    "width": {"build": lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))},
    "activation": {"build": lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))},
    "epochs": {"epochs": 4},
    "batch size": {"batch_size": 15},
    "schedule": {"schedule": linear},
    "schedule at one point": {"schedule": lambda progress: 1.0 if progress < 0.9 else 0.1},
    "l2": {"l2": 1e-6},
    "clip": {"clip": 100.0},
    "ema": {"ema": 0.5},
    "precision": {"precision": "bf16"},
    "augment": {"augment": lambda batch, draws: batch._replace(inputs=batch.inputs * 1.01)},
    "penalty": {"penalty": lambda outputs, batch: 0.01 * outputs.square().sum(-1)},
    "fit": {"fit": fit},
    "key": {"key": "second version"},
}


def name(folder, problem=None, **changed):
    problem = tiny(**{**BASE, **changed}) if problem is None else problem
    return recipe_fingerprint(problem, Store(folder), "cpu")


@pytest.mark.parametrize("changed", SAME.values(), ids=SAME)
def test_a_recipe_that_does_the_same_has_the_same_name(tmp_path, changed):
    assert name(tmp_path) == name(tmp_path, **changed)


@pytest.mark.parametrize("changed", OTHER.values(), ids=OTHER)
def test_a_recipe_that_does_otherwise_has_another_name(tmp_path, changed):
    first = name(tmp_path)
    assert name(tmp_path, **changed) != first
    assert name(tmp_path) == first


def test_names_do_not_depend_on_what_was_known_before(tmp_path):
    names = []
    for k, order in enumerate((["lr", "key"], ["key", "lr"])):
        for what in order:
            name(tmp_path / str(k), **OTHER[what])
        names.append(name(tmp_path / str(k)))
    assert names[0] == names[1]


def test_a_name_does_not_depend_on_the_rows_to_forget(tmp_path):
    """So that a later request finds the models of an earlier one."""
    problem = tiny()
    assert name(tmp_path, problem) == name(tmp_path, problem.forgetting([50]))
    assert name(tmp_path, problem) == name(tmp_path, problem.without(torch.tensor([9])))
    assert name(tmp_path, problem) == name(tmp_path, replace(problem, train=blobs(60, 77)))


def test_recognising_does_not_train_on_anything_to_be_forgotten(tmp_path):
    problem = tiny()
    nan = type(problem.train)(torch.full((60, 6), float("nan")), problem.train.targets)
    assert name(tmp_path, problem) == name(tmp_path, replace(problem, train=nan))


def trainer(lr):
    def train(data, rows, *, seed, device):
        model = mlp()
        (batch,) = data.batches([rows])
        loss = nn.functional.cross_entropy(model(batch.inputs), batch.targets)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p.sub_(lr * g)
        return model

    return train


def test_a_trainer_is_known_by_a_training_on_a_few_rows(tmp_path):
    names = [name(tmp_path, replace(tiny(), recipe=trainer(lr))) for lr in (0.1, 0.1, 0.2)]
    assert names[0] == names[1] != names[2]


def test_a_trainer_with_a_key_is_known_by_it_alone(tmp_path):
    def never(data, rows, *, seed, device):
        pytest.fail("trained")

    never.key = "v1"
    first = name(tmp_path, replace(tiny(), recipe=never))
    never.key = "v2"
    assert name(tmp_path, replace(tiny(), recipe=never)) != first
