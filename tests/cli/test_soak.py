"""Killed fifty times at random moments, commands end with the bytes of those left in peace."""

import random
import time

import pytest

from tests.cli.killing import begin, ended, kept, kill
from tests.cli.small import COMMANDS, TIMED, place

KILLS = {name: 8 for name in COMMANDS} | {"compared-by-two": 2}  # 50; workers import torch anew
OFTEN = 0.1  # seconds: half-done trainings are kept so often here
PATIENCE = 300.0


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Folders in which each command was left in peace."""
    folder = tmp_path_factory.mktemp("calm")
    assert ended(begin(["methods"], folder))  # the first imports everything
    # how many members train at once is timed, so it varies: all have what was found here
    assert ended(begin(TIMED, place(folder / "timed", folder)))
    return folder


def finished(folder):
    """Results in the store of a folder that must outlast any kill."""
    store = folder / "store"
    return {path for path in store.rglob("*.json") if path.parent.name != "checkpoint"}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments_a_command_ends_with_the_same_bytes(calm, tmp_path, name):
    peace, start = place(calm / name, calm, name), time.monotonic()
    assert ended(begin(COMMANDS[name], peace, OFTEN), PATIENCE), (peace / "log").read_text()
    took = time.monotonic() - start
    draw, left, rounds = random.Random(name), KILLS[name], 0
    while left:
        torn, before, rounds = place(tmp_path / f"{rounds}", calm, name), set(), rounds + 1
        while True:
            process = begin(COMMANDS[name], torn, OFTEN)
            if ended(process, draw.uniform(0, took) if left else PATIENCE):
                break
            assert left, "it does not end"
            if not kill(process, whole=draw.random() < 0.5):
                break
            left -= 1
            assert before <= finished(torn), "what was finished is kept"
            before = finished(torn)
        assert kept(torn / name) == kept(peace / name)
    print(f"{name}: {took:.1f} s in peace, {KILLS[name]} kills in {rounds} rounds")
