"""A runtime makes what its store lacks, once, and says where."""

from dataclasses import replace

import pytest

from expunge import fanout
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime, named
from expunge.store import Store


def make(store, key, number):
    store.save(key, {}, {"number": number})


def ordered(runtime, numbers, **more):
    """Tasks by key, and all that `Runtime.make` asks about them."""
    tasks = {f"numbers/{n}": (runtime.store, f"numbers/{n}", n) for n in numbers}
    about = dict.fromkeys(tasks, 1), {key: key for key in tasks}
    runtime.make(make, tasks, "Making", *about, **more)
    return tasks


def test_only_what_the_store_lacks_is_made(runtime, monkeypatch):
    ordered(runtime, [1, 2])
    made = []
    spread = fanout.spread
    monkeypatch.setattr(
        fanout, "spread", lambda f, tasks, **k: (made.extend(tasks), spread(f, tasks, **k))[1]
    )
    tasks = ordered(runtime, [1, 2, 3])
    assert [task[1] for task in made] == ["numbers/3"]
    assert runtime.missing(tasks) == {}
    assert [runtime.store.facts(key)["number"] for key in tasks] == [1, 2, 3]


def test_how_many_processes_are_best_is_asked_only_of_more_work_than_they_do_at_once(
    runtime, monkeypatch
):
    asked, used = [], []
    spread = fanout.spread

    def watched(*args, jobs, **more):
        used.append(jobs)
        return spread(*args, jobs=1, **more)

    def best():
        asked.append(1)
        return 2

    monkeypatch.setattr(fanout, "spread", watched)
    runtime = replace(runtime, jobs=3)
    ordered(runtime, range(3), jobs=best)
    assert (asked, used) == ([], [3])
    ordered(runtime, range(4), jobs=best)  # of which three are there
    assert (asked, used) == ([], [3, 3])
    ordered(runtime, range(10), jobs=best)
    assert (asked, used) == ([1], [3, 3, 2])
    ordered(runtime, range(20))
    assert used[-1] == 3


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match="device 'abacus' cannot be used .*Fix: choose another"):
        Runtime(Store(tmp_path), device="abacus")


@pytest.mark.parametrize(
    ("jobs", "words"), [(1, "by one process"), (0, "by one process"), (3, "by 3 processes")]
)
def test_what_does_the_work_is_told(runtime, jobs, words):
    assert replace(runtime, jobs=jobs).spread_over == words


def test_members_are_named():
    assert named("oracle", (3,)) == "oracle 3"
    assert named("oracle", (4, 5, 6, 7)) == "oracle 4 to 7"
