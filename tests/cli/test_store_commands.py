"""`expunge store`: what it says of a folder of results, what it removes, and its exit codes."""

import os
import time

import pytest
import torch

from expunge.store import Store
from tests.shell import run

MODELS, UNLEARNED = "models/aa", "unlearned/bb"


@pytest.fixture
def folder(tmp_path):
    store = Store(tmp_path / ".expunge")
    store.save(MODELS, {"w": torch.zeros(3000)}, {"role": "original", "members": [0, 4]})
    store.save(UNLEARNED, {}, {"method": "dmm", "members": 5})
    for path in store.paths(UNLEARNED):
        os.utime(path, (time.time() - 9 * 86_400,) * 2)
    return tmp_path


def store_of(folder):
    return Store(folder / ".expunge")


def damage(folder):
    path = store_of(folder).paths(MODELS)[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_ls_tells_of_each_result_when_how_large_and_what(folder):
    shown = run("store", "ls", cwd=folder)
    assert shown.returncode == 0
    first, second = shown.stdout.splitlines()
    assert first.split()[2:] == ["12.0", "KiB", MODELS, "original,", "members", "0", "to", "4"]
    assert second.endswith(f"{UNLEARNED}  dmm, 5 models")
    assert run("store", "ls", "--kind", "models", cwd=folder).stdout.splitlines() == [first]
    damage(folder)
    assert f"{MODELS}  damaged" in run("store", "ls", cwd=folder).stdout


@pytest.mark.parametrize("when", [0, -1e9, 4e9, 1e13], ids=["1970", "1938", "2096", "no year"])
def test_a_clock_that_was_wrong_when_a_result_was_written_hides_nothing(folder, when):
    try:
        for path in store_of(folder).paths(MODELS):
            os.utime(path, (when, when))
    except OSError:
        pytest.skip("this file system has no such time")
    shown = run("store", "ls", "--kind", "models", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert MODELS in shown.stdout
    assert run("store", "check", cwd=folder).returncode == 0
    run("store", "prune", "--older", "7", cwd=folder)
    assert store_of(folder).has(MODELS) == (when > 3e9), "what is of the future is not old"


def test_a_clock_that_was_put_back_prunes_nothing(folder, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    run("store", "prune", "--older", "7", cwd=folder)
    assert store_of(folder).has(MODELS)
    assert store_of(folder).has(UNLEARNED)


def test_size_adds_up_by_kind(folder):
    lines = [line.split() for line in run("store", "size", cwd=folder).stdout.splitlines()]
    rows = {words[0]: words for words in lines if words}
    assert rows["models"][-3:] == ["1", "12.0", "KiB"]
    assert rows["models"][1:5] == ["trained", "models,", "a", "block"]
    assert rows["all"][1] == "2"


def test_check_finds_damage_and_leaves_it(folder):
    shown = run("store", "check", cwd=folder)
    assert (shown.returncode, shown.stdout) == (
        0,
        "Every result of the store at .expunge is whole.\n",
    )
    damage(folder)
    shown = run("store", "check", cwd=folder)
    assert shown.returncode == 1
    assert shown.stdout.startswith(f"damaged: {MODELS}\n1 results of the store at .expunge")
    assert store_of(folder).has(MODELS)


def test_prune_removes_what_is_damaged_and_nothing_else(folder):
    assert "Removed 0 results and 0 other files" in run("store", "prune", cwd=folder).stdout
    damage(folder)
    shown = run("store", "prune", "--dry-run", cwd=folder)
    assert shown.stdout == "Would remove 1 results and 0 other files, 12.0 KiB.\n"
    assert store_of(folder).has(MODELS)
    assert "Removed 1 results" in run("store", "prune", cwd=folder).stdout
    assert not store_of(folder).has(MODELS)
    assert store_of(folder).has(UNLEARNED)


def test_prune_removes_whole_results_that_were_named(folder):
    run("store", "prune", "--older", "7", cwd=folder)
    assert (store_of(folder).has(MODELS), store_of(folder).has(UNLEARNED)) == (True, False)
    run("store", "prune", "--kind", "models", cwd=folder)
    assert not store_of(folder).has(MODELS)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ls", "--store", "nowhere"), "there is no store at nowhere"),
        (("size", "--store", "nowhere"), "name it with --store"),
        (("prune", "--kind", "model"), "unknown kind 'model' (did you mean 'models'?)"),
    ],
)
def test_what_cannot_be_done_is_told(folder, words, told):
    shown = run("store", *words, cwd=folder)
    assert shown.returncode == 2
    assert told in shown.stderr
