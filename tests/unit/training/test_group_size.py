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
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.training.from_recipe import on_validation, train
from expunge.training.group_size import (
    ChannelsLast,
    GroupSize,
    bears_layout,
    choose_group,
    refusal,
    timed_sizes,
)
from expunge.training.model_cache import ModelCache


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
    chosen = choose_group(tiny(build), "cpu")
    assert chosen.group == 1
    assert reason in chosen.refused


@pytest.mark.parametrize("build", [mlp, batchnorm, Tied, half_frozen])
@pytest.mark.parametrize("optimizer", [None, ADAM], ids=["SGD", "Adam"])
def test_models_that_can_run_together_are_timed(build, optimizer):
    problem = tiny(build, **({"optimizer": optimizer} if optimizer else {}))
    chosen = choose_group(problem, "cpu")
    assert chosen.group in (1, 2, 5, 10, 20, 50)
    assert (chosen.refused, chosen.channels_last) == ("", False)
    assert chosen.timings.startswith("microseconds a step and member by group size: 1: ")


def test_an_optimizer_that_mixes_members_is_found():
    """Adafactor's and LAMB's norms are over all elements of a tensor, here of all members."""

    class Normed(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.div_(p.grad.norm() + 1e-8)
            return super().step(closure)

    chosen = choose_group(tiny(optimizer=partial(Normed, lr=0.1)), "cpu")
    assert chosen.group == 1
    assert "differs between one model alone" in chosen.refused


def test_a_trainer_trains_one_at_a_time():
    def trainer(data, rows, *, seed, device):
        return mlp()

    wanted = GroupSize(1, refused="this package does not run the steps of the training")
    assert choose_group(replace(tiny(), recipe=trainer), "cpu") == wanted


def test_rows_that_augment_themselves_go_to_one_model_at_a_time():
    data = tiny().train
    augmented = DatasetData(Items(data, 0.1), clean=Items(data))
    chosen = choose_group(replace(tiny(), train=augmented), "cpu")
    assert chosen.group == 1
    assert "augments rows itself" in chosen.refused
    plain = DatasetData(Items(data))
    assert not choose_group(replace(tiny(), train=plain), "cpu").refused


def test_rows_to_forget_are_never_used_for_timing():
    """Validation rows are: an oracle's speed must not depend on what it must not see."""
    problem = tiny()
    nan = torch.full_like(problem.train.inputs, float("nan"))
    hidden = replace(problem, train=type(problem.train)(nan, problem.train.targets))
    assert choose_group(hidden, "cpu").group >= 1


TIMES = {1: 1.0, 2: 1.8, 5: 4.9, 10: 9.0, 20: 10.0, 50: 30.0}  # of a group


def test_sizes_are_tried_until_two_gain_next_to_nothing():
    def run(ids, steps, grouped):
        return [], TIMES[len(ids)]

    assert timed_sizes(run, 50) == {1: 1.0, 2: 0.9, 5: 4.9 / 5, 10: 0.9}
    TIMES[10] = 8.0
    found = timed_sizes(run, 50)
    assert list(found) == [1, 2, 5, 10, 20, 50]
    assert min(found, key=found.get) == 20
    assert list(timed_sizes(run, 5)) == [1, 2, 5]


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


def test_rows_that_are_gone_do_not_matter_to_a_trial():
    problem = replace(tiny(mlp), ids=[f"row {n}" for n in range(len(tiny(mlp).train))])
    present = torch.ones(len(problem.train), dtype=torch.bool)
    present[problem.forget] = False
    probe = on_validation(replace(problem, forget=problem.forget[:0], present=present))
    assert len(probe.present_rows) == len(probe.train) == len(problem.validation)
    assert not len(probe.forget)


def test_the_choice_is_kept_and_used_by_every_later_command(tmp_path, monkeypatch):
    runtime = Runtime(Store(tmp_path), jobs=1, progress=False)
    problem = tiny(dropout)
    first = ModelCache(problem, runtime).choice
    monkeypatch.setattr(
        "expunge.training.model_cache.choose_group", lambda *_: pytest.fail("chosen again")
    )
    assert ModelCache(problem, runtime).choice == first
    assert ModelCache(problem, runtime).group == 1
    with pytest.raises(BadInput, match="groups of 7 members were asked for, but members must run"):
        _ = ModelCache(problem, replace(runtime, group=7)).group


# ---- channels last


class Pictures(nn.Module):
    """A convolution of features as 2 x 2 x 2, flattened by `reshape` or by `view`."""

    def __init__(self, flatten="reshape"):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 2, padding=1), nn.Linear(4 * 3 * 3, 3)
        self.flatten = flatten

    def forward(self, x):
        h = torch.relu(self.conv(x.repeat(1, 2)[:, :8].reshape(-1, 2, 2, 2)))
        return self.head(getattr(h, self.flatten)(len(h), -1))


class Spying(Pictures):
    """It answers by how its weights lie in memory."""

    def forward(self, x):
        return super().forward(x) * self.conv.weight.stride(1)


def bears(build):
    problem = tiny(build)
    other = replace(problem.recipe, build=ChannelsLast(build))

    def run(ids, steps, grouped):
        return train(replace(problem, recipe=other), "original", ids, seed=0), 0.0

    return bears_layout(problem, run, "cpu")


def test_models_that_bear_channels_last():
    assert bears(Pictures)
    assert not bears(partial(Pictures, "view"))  # of a layout that is another now
    assert not bears(Spying)
    assert not bears(mlp)  # without convolutions there is nothing to lay out


def test_channels_last_is_taken_where_it_is_faster(monkeypatch):
    monkeypatch.setattr("expunge.training.group_size.timed", lambda run, size: times.pop(0))
    times = [3.0, 4.0, 5.0, 2.0]
    chosen = choose_group(tiny(Pictures), "cpu")
    assert (chosen.group, chosen.channels_last) == (1, True)
    assert chosen.timings.endswith(
        "1: 3000000, 2: 4000000, 5: 5000000, 1 with channels last: 2000000"
    )
    times = [3.2, 3.0, 5.0, 6.0, 4.0]
    assert choose_group(tiny(Pictures), "cpu")[:2] == (1, False)  # nearly as fast, and smaller
    times = [3.0, 4.0, 5.0, 3.5]
    assert choose_group(tiny(Pictures), "cpu")[:2] == (1, False)
    times = [3.0, 1.0, 5.0, 4.0, 2.0]
    assert choose_group(tiny(Pictures), "cpu")[:2] == (2, False)


@pytest.mark.parametrize("asked", [None, 1, 2])
def test_models_are_made_in_the_layout_that_was_chosen(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(
        "expunge.training.model_cache.choose_group", lambda *_: GroupSize(1, channels_last=True)
    )
    cache = ModelCache(
        tiny(Pictures), Runtime(Store(tmp_path), jobs=1, group=asked, progress=False)
    )
    last = asked != 2
    assert cache.channels_last == last
    found = cache.models("original", 2)
    flat, _ = train(cache.arranged, "original", [0, 1], seed=0, group=cache.group)
    for name, tensor in found.tensors().items():
        assert torch.equal(tensor, flat.tensors()[name])
    weight = cache.template.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == last
    keys = cache.keys("original", 2)
    monkeypatch.setattr("expunge.training.model_cache.choose_group", lambda *_: GroupSize(1))
    other = Runtime(Store(tmp_path / "other"), jobs=1, group=asked, progress=False)
    assert (ModelCache(tiny(Pictures), other).keys("original", 2) == keys) == (not last)
