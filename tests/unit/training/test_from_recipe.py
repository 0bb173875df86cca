"""train(): roles, rows, and the user's own Trainer."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.contract.problems import ROWS, mlp, tiny
from expunge.data import DatasetData
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.training.from_recipe import retrain_units, rows_of, subset_rows, train
from expunge.training.model_cache import ModelCache


def script(data, rows, *, seed, device):
    """A Trainer as a user would write it: all draws from the global generators."""
    model = mlp().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        order = rows[torch.randperm(len(rows))]
        for batch in data.batches(order.split(16)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
            optimizer.step()
    return model


def fixed_seed(data, rows, *, seed, device):
    torch.manual_seed(0)
    return script(data, rows, seed=seed, device=device)


def forgetful(data, rows, *, seed, device):
    script(data, rows, seed=seed, device=device)


def trained_by(trainer, **changed):
    return replace(tiny(), recipe=trainer, **changed)


def test_rows_of_roles(problem):
    gone = torch.tensor([0, 1])
    problem = problem.without(gone)
    on_all = {*range(2, ROWS)}
    assert {*rows_of(problem, "original").tolist()} == on_all
    assert {*rows_of(problem, "subset").tolist()} == on_all
    for role in ("oracle", "null", "teacher", "retrain"):
        assert {*rows_of(problem, role).tolist()} == on_all - {*problem.forget.tolist()}


def test_halves_are_of_the_rows_present_and_equally_likely(problem):
    """2,000 halves of 58 rows; each row in 1,000 +- 5 sd of them."""
    problem = problem.without(torch.tensor([10, 20]))
    halves = subset_rows(problem, range(2000), seed=0)
    assert halves.shape == (2000, 29)
    assert (halves.diff(dim=1) > 0).all()  # sorted, each once
    counts = halves.flatten().bincount(minlength=ROWS)
    assert counts[[10, 20]].tolist() == [0, 0]
    kept = counts[problem.present_rows].double()
    assert ((kept - 1000).abs() <= 5 * 2000**0.5 / 2).all()
    assert torch.equal(subset_rows(problem, [7], seed=0)[0], halves[7])
    assert not torch.equal(subset_rows(problem, [7], seed=1)[0], halves[7])


def test_a_problem_without_a_recipe_says_what_for(problem):
    with pytest.raises(BadInput, match="no recipe, which is needed to train oracle models"):
        train(replace(problem, recipe=None), "oracle", [0], seed=0)


def test_divergence_is_told(problem):
    wild = tiny(optimizer=lambda named: torch.optim.SGD(named, lr=1e30))
    with pytest.raises(BadInput, match="became NaN or infinite in members 0 to 1.*lower the learn"):
        train(wild, "original", [0, 1], seed=0, group=2)


def test_cost_is_of_one_member(problem):
    for role, steps in (("original", 3), ("oracle", 3), ("subset", 1)):
        for group in (1, 2):
            _, cost = train(problem, role, range(4), seed=0, group=group)
            assert cost.forward_rows == cost.backward_rows == 3 * steps * 16
            assert cost.row_units == 3 * cost.forward_rows
            assert cost.seconds > 0


def test_an_unknown_role_is_refused(problem):
    """A slip such as this would train on the retained rows without a word."""
    with pytest.raises(BadInput, match="orcale"):
        train(problem, "orcale", [0], seed=0)


class Noisy(torch.utils.data.Dataset):
    """Augmented from the global generator, as most data sets are."""

    def __init__(self, data, noise=1.0):
        self.data, self.noise = data, noise

    def __len__(self):
        return len(self.data)

    def __getitem__(self, row):
        drawn = self.noise * torch.randn(6) if self.noise else torch.zeros(6)
        return self.data.inputs[row] + drawn, int(self.data.targets[row])


@pytest.mark.parametrize("group", [1, 2])
def test_a_data_set_that_augments_itself_trains_by_the_seed_alone(problem, group):
    """Whatever group is asked for: the same seed gives the same bits, and every member its own."""
    data = DatasetData(Noisy(problem.train), clean=Noisy(problem.train, 0.0))
    problem = replace(problem, train=data)
    one, two = (train(problem, "original", [0, 1], seed=0, group=group)[0] for _ in range(2))
    alone, _ = train(problem, "original", [1], seed=0)
    for name, first in one.tensors().items():
        assert torch.equal(first, two.tensors()[name])
        assert torch.equal(first[1], alone.tensors()[name][0])


# ---- Trainer


@pytest.mark.parametrize("role", ["original", "oracle", "subset"])
def test_a_trainer_is_given_rows_and_a_seed(role):
    calls = []

    def spy(data, rows, *, seed, device):
        calls.append((rows, seed, torch.initial_seed(), device))
        return script(data, rows, seed=seed, device=device)

    problem = trained_by(spy)
    models, _ = train(problem, role, [0, 3], seed=0)
    assert models.ids == (0, 3)
    assert len({seed for _, seed, _, _ in calls}) == 2
    assert all(seed == seeded for _, seed, seeded, _ in calls)
    assert all(device == "cpu" for *_, device in calls)
    if role == "subset":
        assert torch.equal(
            torch.stack([rows for rows, *_ in calls]), subset_rows(problem, [0, 3], 0)
        )
    else:
        assert all(torch.equal(rows, rows_of(problem, role)) for rows, *_ in calls)


def test_a_trainers_model_depends_on_its_seed_and_number_alone():
    problem = trained_by(script)
    first, _ = train(problem, "oracle", [0, 1, 2], seed=0)
    again, _ = train(problem, "oracle", [2], seed=0)
    other, _ = train(problem, "oracle", [2], seed=1)
    name = "0.weight"
    assert torch.equal(first.tensors()[name][2], again.tensors()[name][0])
    assert not torch.equal(other.tensors()[name], again.tensors()[name])


def test_a_trainer_that_ignores_its_seed_is_refused():
    with pytest.raises(
        BadInput, match="gave the very same weights for two seeds.*do not fix a seed"
    ):
        train(trained_by(fixed_seed), "oracle", [0, 1], seed=0)


def test_a_trainer_that_ignores_its_seed_is_refused_where_models_are_kept(tmp_path):
    """There members come one by one: ten equal oracles would make any model look far away."""
    runtime = Runtime(Store(tmp_path), jobs=1, progress=False)
    with pytest.raises(BadInput, match="the very same weights"):
        ModelCache(trained_by(fixed_seed), runtime).models("oracle", 3)


def test_a_trainer_that_returns_no_model_is_refused():
    with pytest.raises(BadInput, match="the Trainer returned a NoneType.*return model"):
        train(trained_by(forgetful), "oracle", [0], seed=0)


def test_a_trainer_may_say_its_epochs():
    def stated(data, rows, *, seed, device):
        return script(data, rows, seed=seed, device=device)

    problem = trained_by(stated)
    assert retrain_units(problem) is None
    assert train(problem, "oracle", [0], seed=0)[1].row_units == 0
    stated.epochs = 2
    assert retrain_units(problem) == 3 * 2 * 54
    assert train(problem, "oracle", [0], seed=0)[1].row_units == 3 * 2 * 54
