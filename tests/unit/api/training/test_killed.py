"""train_model() killed on its way: it goes on, and ends with the same bytes."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.contract.cases import same_bits
from expunge.contract.problems import FORGET, batchnorm, tiny, tiny64
from expunge.store import Store

from .common import MEMBER, SEED, Killed, files, jitter, original, state


@pytest.mark.parametrize("after", [1, 5, 8])
def test_killed_it_goes_on_and_ends_with_the_same_bytes(make, tmp_path, kill, runtime, after):
    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    problem = tiny(batchnorm, augment=jitter, optimizer=momentum)
    given = {"track": 4, "record": torch.tensor(FORGET)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of momentum
        whole = make(problem, "whole", **given)
        other = replace(runtime, store=Store(tmp_path / "other"))
        kill(after)
        with pytest.raises(Killed):
            make(problem, "out", runtime=other, **given)
        assert not (tmp_path / "out/model.safetensors").exists()
        kill(0)
        read = []
        listening = replace(problem.recipe, augment=lambda b, d: read.append(0) or jitter(b, d))
        again = make(replace(problem, recipe=listening), "out", runtime=other, **given)
    # the steps that are left, and two by which the recipe is recognised
    assert len(read) == 9 - after + 2
    assert files(tmp_path / "whole") == files(tmp_path / "out")
    assert again.tracked == whole.tracked
    assert not list(other.store.keys("checkpoint"))


def test_killed_and_asked_into_another_folder_every_step_is_recorded_there(make, tmp_path, kill):
    make(out="whole", record=torch.arange(60))
    kill(5)
    with pytest.raises(Killed):
        make(out="one", record=torch.arange(60))
    kill(0)
    make(out="two", record=torch.arange(60))
    assert files(tmp_path / "two") == files(tmp_path / "whole")


@pytest.mark.parametrize("other", [{"member": 0}, {"problem": tiny64(forget=(), l2=0.5)}])
def test_another_training_does_not_go_on_where_one_was_killed(make, kill, other):
    kill(5)
    with pytest.raises(Killed):
        make()
    kill(0)
    made = make(**other)
    problem = other.get("problem", tiny64(forget=()))
    assert same_bits(state(made.model), original(problem, other.get("member", MEMBER)))


def test_killed_and_asked_to_record_more_rows_it_records_all_of_them(make, tmp_path, kill):
    kill(5)
    with pytest.raises(Killed):
        make(record=torch.tensor([5]))
    kill(0)
    make(record=torch.arange(60))
    assert len(list((tmp_path / "out/updates").iterdir())) == 9


def test_what_another_training_recorded_before_it_was_killed_is_not_taken_for_ones_own(
    make, tmp_path, kill, runtime
):
    kill(7)
    with pytest.raises(Killed):
        make(record=torch.arange(60), runtime=replace(runtime, seed=SEED + 1))
    kill(0)
    (tmp_path / "out/updates/notes.txt").write_text("kept")
    made = make(record=torch.tensor([5]))
    held = int(torch.isin(made.history.plan, torch.tensor([5])).any(-1).sum())
    assert len(list((tmp_path / "out/updates").glob("step-*"))) == held < 7
    assert (tmp_path / "out/updates/notes.txt").exists()
