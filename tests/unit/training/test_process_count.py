"""The number of processes is chosen by what they do together, once, and told."""

from dataclasses import replace

import pytest
import torch

from expunge import fanout
from expunge.contract.problems import mlp, tiny
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.training import model_cache as cache
from expunge.training import process_count as pacing
from expunge.training.model_cache import ModelCache
from expunge.training.process_count import GAIN, ProcessCount, choose_processes, pace


@pytest.mark.parametrize(
    ("paces", "count"),
    [
        ({4: 100.0, 2: 60.0}, 4),
        ({4: 100.0, 2: 100.0 * GAIN - 1}, 4),  # not beyond doubt
        ({4: 100.0, 2: 100.0 * GAIN, 1: 70.0}, 2),
        ({4: 100.0, 2: 120.0, 1: 130.0}, 1),
        ({3: 100.0, 1: 40.0}, 3),
        ({1: 100.0}, 1),
    ],
)
def test_fewer_processes_are_taken_while_they_are_faster_together(monkeypatch, paces, count):
    def together(problem, group, device, count, most):
        tried.append(count)
        return paces[count]

    tried = []
    monkeypatch.setattr(pacing, "together", together)
    most = next(iter(paces))
    chosen = choose_processes(tiny(mlp), 2, "cpu", most)
    assert chosen.best == count
    assert tried == [most, *paces]  # at first to start them
    assert all(f"{n}: {speed:.0f}" in chosen.timings for n, speed in paces.items())


def test_a_trial_reads_validation_rows_alone(monkeypatch):
    def spread(function, tasks, **_):
        problem, group, device = tasks[0]
        seen.append(problem)
        assert problem.train is problem.validation is base.validation
        assert problem.test is None
        return [function(*tasks[0])] * len(tasks)

    seen, base = [], tiny(mlp)
    monkeypatch.setattr(fanout, "spread", spread)
    monkeypatch.setattr(pacing, "SECONDS", 0.01)
    assert choose_processes(base, 2, "cpu", 2).best in (1, 2)  # which is a matter of speed
    assert len(seen) == 3


def test_so_many_processes_work_as_are_asked_of(monkeypatch):
    def spread(function, tasks, *, jobs, **_):
        used.append((len(tasks), jobs))
        return [10.0] * len(tasks)

    used = []
    monkeypatch.setattr(fanout, "spread", spread)
    assert pacing.together(tiny(mlp), 2, "cpu", 3, 4) == 30.0
    assert used == [(3, 4)]  # of a pool that is not made anew


def test_the_pace_of_one_process_counts_all_members(monkeypatch):
    def runner(*_):
        return lambda ids, steps, grouped: (asked.append(steps), 0.25)

    asked = []
    monkeypatch.setattr(pacing, "runner", runner)
    assert pace(tiny(mlp), 10, "cpu") == 10 / 0.25
    assert asked == [4, 4]
    monkeypatch.setattr(pacing, "SECONDS", 10.0)
    pace(tiny(mlp), 10, "cpu")
    assert asked[2:] == [4, 40]


def test_processes_really_work_at_the_same_time(monkeypatch):
    monkeypatch.setattr(pacing, "SECONDS", 0.05)
    assert choose_processes(tiny(mlp), 2, "cpu", 2).best in (1, 2)


def test_the_choice_is_told_in_words():
    assert ProcessCount(3, "tried").describe() == "Work is spread over 3 processes (tried)"


@pytest.fixture
def chosen(monkeypatch):
    """The choices that were made, always of one process among those there may be."""

    def choose(problem, group, device, most):
        made.append((group, most))
        return ProcessCount(1, "tried")

    made = []
    monkeypatch.setattr(cache, "choose_processes", choose)
    monkeypatch.setattr("joblib.cpu_count", lambda **_: 2)
    return made


def test_the_choice_is_kept_told_and_used(tmp_path, chosen, monkeypatch, capsys):
    used = []
    spread = fanout.spread

    def watched(*args, jobs, **more):
        used.append(jobs)
        return spread(*args, jobs=1, **more)

    monkeypatch.setattr(fanout, "spread", watched)
    runtime = Runtime(Store(tmp_path), group=1)
    ModelCache(tiny(mlp), runtime).make({"original": 2})
    assert (used, chosen) == ([2], [])  # one task a process: nothing to choose
    ModelCache(tiny(mlp), runtime).make({"original": 5})
    assert (used, chosen) == ([2, 1], [(1, 2)])
    told = " ".join(capsys.readouterr().err.split())
    assert "Work is spread over one process (tried)." in told
    ModelCache(tiny(mlp), runtime).make({"oracle": 5})
    assert (used, len(chosen)) == ([2, 1, 1], 1)


@pytest.mark.parametrize("settings", [{"jobs": 2}, {"jobs": 1}])
def test_what_is_asked_for_is_not_tried(tmp_path, chosen, settings):
    runtime = Runtime(Store(tmp_path), group=1, progress=False, **settings)
    assert ModelCache(tiny(mlp), runtime).processes() == settings["jobs"]
    assert not chosen


def test_a_trainer_is_not_tried(tmp_path, chosen):
    def trainer(data, rows, *, seed, device):
        torch.manual_seed(seed)
        return mlp()

    problem = replace(tiny(mlp), recipe=trainer)
    assert ModelCache(problem, Runtime(Store(tmp_path), progress=False)).processes() == 2
    assert not chosen


def test_a_damaged_choice_is_made_again(tmp_path, chosen):
    runtime = Runtime(Store(tmp_path), group=1, progress=False)
    assert ModelCache(tiny(mlp), runtime).processes() == 1
    (place,) = (tmp_path / "processes").glob("*.json")
    place.write_text("{")
    with pytest.warns(UserWarning, match="is damaged"):
        assert ModelCache(tiny(mlp), runtime).processes() == 1
    assert len(chosen) == 2
