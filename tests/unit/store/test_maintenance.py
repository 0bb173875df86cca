"""What a store holds, what of it is damaged, and what can go."""

import multiprocessing
import os
import time

import pytest
import torch
from filelock import FileLock

from expunge.errors import BadInput
from expunge.store import Store
from expunge.store import maintenance as keeping

DAY = 86_400.0


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "s")
    for k, key in enumerate(("models/a", "models/b", "unlearned/a", "own/x")):
        made.save(key, {"w": torch.arange(10.0 * (k + 1))}, {"n": k})
    return made


def age(store, key, days):
    for path in store.paths(key):
        os.utime(path, (time.time() - days * DAY,) * 2)


def keys(found):
    return [one.key for one in found]


def test_results_stand_in_the_order_of_their_kinds_with_their_sizes(store):
    assert keeping.kinds(store) == ["models", "unlearned", "own"]
    found = keeping.held(store)
    assert keys(found) == ["models/a", "models/b", "unlearned/a", "own/x"]
    for one in found:
        assert one.bytes == sum(path.stat().st_size for path in store.paths(one.key))
        assert one.changed == max(path.stat().st_mtime for path in store.paths(one.key))


def test_locks_and_halves_of_results_are_none(store):
    with store.making("models/c"):
        pass
    store.paths("models/b")[1].unlink()
    assert keys(keeping.held(store)) == ["models/a", "unlearned/a", "own/x"]
    assert keeping.kinds(store) == ["models", "unlearned", "own"]


def test_damage_is_found_and_left(store):
    path = store.paths("models/b")[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    found = {one.key: wrong for one, wrong in keeping.damaged(store)}
    assert found == {"models/a": False, "models/b": True, "unlearned/a": False, "own/x": False}
    assert path.read_bytes() == bytes(content)


def test_what_is_left_over_is_what_no_result_needs_and_nobody_writes(store):
    folder = store.root / "models"
    store.paths("models/b")[1].unlink()
    alone = store.paths("models/b")[0]
    partial, fresh = folder / ".partial-1", folder / ".partial-2"
    notes = folder / "notes.txt"
    for path in (partial, fresh, notes):
        path.write_bytes(b"half")
    for path in (alone, partial, notes):
        os.utime(path, (time.time() - 2 * keeping.WRITING,) * 2)
    with store.making("models/c"):
        taken = keeping.leftovers(store)
    assert set(taken) == {alone, partial}  # the lock is held
    free = keeping.leftovers(store)
    assert {path.name for path in free} == {alone.name, ".partial-1", "models-c.lock"}
    keeping.drop(store, [], free)
    assert {path.name for path in folder.iterdir()} == {
        *("notes.txt", ".partial-2"),
        *(path.name for path in store.paths("models/a")),
    }


def test_a_clock_that_was_put_back_makes_nothing_old(store):
    partial = store.root / "models/.partial-1"
    partial.write_bytes(b"half")
    for path in (partial, *store.paths("models/a")):
        os.utime(path, (time.time() + 9 * DAY,) * 2)
    age(store, "models/b", 9)
    assert keeping.leftovers(store) == []
    assert keys(keeping.chosen(store, [], 1.0)) == ["models/b"]


def test_results_are_chosen_by_kind_and_age(store):
    age(store, "models/b", 8)
    age(store, "unlearned/a", 9)
    chosen = {
        (): ["models/a", "models/b", "unlearned/a", "own/x"],
        ("models",): ["models/a", "models/b"],
        ("unlearned", "models"): ["models/a", "models/b", "unlearned/a"],
    }
    for which, wanted in chosen.items():
        assert keys(keeping.chosen(store, which, None)) == wanted
    assert keys(keeping.chosen(store, [], 7)) == ["models/b", "unlearned/a"]
    assert keys(keeping.chosen(store, ["models"], 7)) == ["models/b"]
    assert keys(keeping.chosen(store, ["models"], 8.5)) == []


def test_only_what_was_chosen_is_dropped(store):
    keeping.drop(store, keeping.chosen(store, ["models"], None))
    assert keys(keeping.held(store)) == ["unlearned/a", "own/x"]
    assert store.load("models/a") is None
    assert store.load("unlearned/a").facts == {"n": 2}


def test_what_was_made_anew_since_it_was_found_is_not_dropped(store):
    one, *_ = before = keeping.held(store)
    kept = store.load(one.key)
    store.save(one.key, {name: t.clone() for name, t in kept.tensors.items()}, {"made": "anew"})
    keeping.drop(store, before[:1])
    assert store.facts(one.key) == {"made": "anew"}


def test_a_training_that_was_kept_a_moment_ago_is_not_chosen(store):
    store.save("checkpoint/x-a", {}, {"steps": 1})
    assert not [one for one in keeping.chosen(store, ["checkpoint"], None) if "x-a" in one.key]
    for path in store.paths("checkpoint/x-a"):
        os.utime(path, (time.time() - 2 * keeping.WRITING,) * 2)
    assert [one.key for one in keeping.chosen(store, ["checkpoint"], None)] == ["checkpoint/x-a"]


def test_a_lock_that_was_taken_since_stays(store):
    lock = store.root / "locks" / "models-x.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    assert lock in keeping.leftovers(store)
    with FileLock(lock):
        keeping.drop(store, [], [lock])
        assert lock.exists()
    keeping.drop(store, [], [lock])
    assert not lock.exists()


def test_what_cannot_be_asked(store, tmp_path):
    with pytest.raises(BadInput, match=r"unknown kind 'model' \(did you mean 'models'\?\)"):
        keeping.chosen(store, ["model"], None)
    for days in (-1, float("nan")):
        with pytest.raises(BadInput, match="at least 0 days"):
            keeping.chosen(store, [], days)
    with pytest.raises(BadInput, match=r"there is no store at .*nowhere"):
        keeping.kinds(Store(tmp_path / "nowhere"))


# ---- the right to make a result


def hold(root, key):
    with Store(root).making(key):
        (root / "entered").touch()
        until(root / "leave")


def until(path):
    """Wait for a file: an Event of a process that is killed may never be free again."""
    stop = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < stop
        time.sleep(0.01)


@pytest.fixture
def holder(store):
    """A process that holds the right to models/c until it is told to leave."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=hold, args=(store.root, "models/c"))
    process.start()
    until(store.root / "entered")
    yield process
    (store.root / "leave").touch()
    process.join(60)


def held_elsewhere(store):
    return FileLock(store.root / "locks/models-c.lock", timeout=0)


def test_one_process_alone_makes_a_result(store, holder):
    with pytest.raises(TimeoutError):
        held_elsewhere(store).acquire()
    with store.making("models/d") as needed:  # another result is free
        assert needed
    (store.root / "leave").touch()
    holder.join(60)
    with store.making("models/c") as needed:
        assert needed
        store.save("models/c", {}, {})
    with store.making("models/c") as needed:
        assert not needed


def test_the_right_of_a_killed_process_is_free(store, holder):
    holder.kill()
    holder.join(60)
    with store.making("models/c") as needed:
        assert needed


def test_an_error_gives_the_right_back(store):
    with pytest.raises(ZeroDivisionError), store.making("models/c"):
        raise ZeroDivisionError
    held_elsewhere(store).acquire()


def test_a_store_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadInput, match=r"cannot write .*locks"),
        Store(tmp_path / "file").making("a"),
    ):
        pass
