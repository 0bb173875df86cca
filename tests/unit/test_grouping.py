"""Which models may share a group, and why others may not."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.problems import (
    ADAM,
    Reassigning,
    Recurrent,
    Tied,
    batchnorm,
    dropout,
    half_frozen,
    mlp,
    tiny,
)
from expunge.data import DatasetData
from expunge.errors import BadInput
from expunge.grouping import choose_group, refusal, timed_group
from expunge.maker import Maker, Workshop
from expunge.store import Store


class Items(torch.utils.data.Dataset):
    def __init__(self, data, noise=0.0):
        self.data, self.noise = data, noise

    def __len__(self):
        return len(self.data)

    def __getitem__(self, row):
        return self.data.inputs[row] + self.noise, int(self.data.targets[row])


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (dropout, "vmap refuses the model"),
        (Recurrent, "vmap refuses the model"),
        (Reassigning, "'seen' differs between one model alone and the same model in a group"),
    ],
)
def test_models_that_cannot_run_together_run_alone_and_the_reason_is_said(build, reason):
    group, why = choose_group(tiny(build), "cpu")
    assert group == 1
    assert reason in why


@pytest.mark.parametrize("build", [mlp, batchnorm, Tied, half_frozen])
@pytest.mark.parametrize("optimizer", [None, ADAM], ids=["SGD", "Adam"])
def test_models_that_can_run_together_are_timed(build, optimizer):
    problem = tiny(build, **({"optimizer": optimizer} if optimizer else {}))
    group, why = choose_group(problem, "cpu")
    assert group in (1, 5, 20, 50)
    assert why.startswith("microseconds a step and member by group size: 1: ")


def test_an_optimizer_that_mixes_members_is_found():
    """Adafactor's and LAMB's norms are over all elements of a tensor, here of all members."""

    class Normed(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.div_(p.grad.norm() + 1e-8)
            return super().step(closure)

    group, why = choose_group(tiny(optimizer=partial(Normed, lr=0.1)), "cpu")
    assert group == 1
    assert "differs between one model alone" in why


def test_a_trainer_trains_one_at_a_time():
    def trainer(data, rows, *, seed, device):
        return mlp()

    assert choose_group(replace(tiny(), recipe=trainer), "cpu") == (
        1,
        "a Trainer trains one model at a time",
    )


def test_rows_that_augment_themselves_go_to_one_model_at_a_time():
    data = tiny().train
    augmented = DatasetData(Items(data, 0.1), clean=Items(data))
    group, why = choose_group(replace(tiny(), train=augmented), "cpu")
    assert group == 1
    assert "augments rows itself" in why
    plain = DatasetData(Items(data))
    assert "augments" not in choose_group(replace(tiny(), train=plain), "cpu")[1]


def test_rows_to_forget_are_never_used_for_timing():
    """Validation rows are: an oracle's speed must not depend on what it must not see."""
    problem = tiny()
    nan = torch.full_like(problem.train.inputs, float("nan"))
    hidden = replace(problem, train=type(problem.train)(nan, problem.train.targets))
    assert choose_group(hidden, "cpu")[0] >= 1


def test_the_size_of_least_time_a_member_is_taken():
    def run(ids, steps, grouped):
        return [], steps * {1: 1.0, 5: 2.0, 20: 5.0, 50: 30.0}[len(ids)]

    assert timed_group(run, 50)[0] == 20
    assert timed_group(run, 5)[0] == 5
    assert timed_group(lambda ids, steps, grouped: ([], steps * len(ids) ** 2.0), 50)[0] == 1


def test_a_refusal_is_one_line():
    def run(ids, steps, grouped):
        if grouped:
            raise RuntimeError("vmap: no rule for aten::foo\nsecond line\nthird line")
        return [], 0.0

    assert refusal(run) == "torch.func.vmap refuses the model: vmap: no rule for aten::foo"


class Broken(nn.Module):
    """Fails alone, too: that is the user's error and no reason for groups of one."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(7, 3)

    def forward(self, x):
        return self.net(x)


def test_a_model_that_does_not_run_at_all_is_an_error():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        choose_group(tiny(Broken), "cpu")


def test_the_choice_is_kept_and_used_by_every_later_command(tmp_path, monkeypatch):
    workshop = Workshop(Store(tmp_path), jobs=1, progress=False)
    problem = tiny(dropout)
    first = Maker(problem, workshop).group_and_reason
    monkeypatch.setattr("expunge.maker.choose_group", lambda *_: pytest.fail("chosen again"))
    assert Maker(problem, workshop).group_and_reason == first
    assert Maker(problem, workshop).group == 1
    with pytest.raises(BadInput, match="groups of 7 members were asked for, but members must run"):
        _ = Maker(problem, replace(workshop, group=7)).group
