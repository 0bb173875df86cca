"""Killed fifty times at random moments, commands end with the bytes of those left in peace."""

import random
import shutil
import time

import pytest
from killing import begin, ended, kept, kill

PROBLEM = """
from dataclasses import replace
from functools import partial

import torch
from torch import nn

import expunge

g = torch.Generator().manual_seed(0)
x = torch.randn(160, 6, generator=g)
y = (x @ torch.randn(6, 3, generator=g)).argmax(1)
parts = [expunge.TensorData(x[a:b], y[a:b]) for a, b in ((0, 100), (100, 130), (130, 160))]
def build():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
recipe = expunge.Recipe(build, epochs=6, batch_size=20, optimizer=optimizer)
problem = expunge.Problem(expunge.Classification(3), *parts, recipe=recipe)
long = replace(problem, recipe=replace(recipe, epochs=120))
"""
BENCH = """
name = "small"
problem = "mine.py:problem"
seeds = [0, 1]
members = 10
metrics = ["UA", "RA", "TA", "MIA"]
[[forget]]
name = "random"
kind = "random"
share = 0.1
[[method]]
name = "fine-tune"
[[method]]
name = "gradient-ascent"
[tuning]
trials = 2
seed = 0
"""
ASK = ("--problem", "mine.py:problem", "--jobs", 1)
COMMANDS = {  # by what they write; later ones read what earlier ones wrote
    "trained": (
        *("train", "--problem", "mine.py:long", "--store", "store", "--out", "trained"),
        *("--record", "rows.csv", "--track", "unlearning-error", "--looks", 3),
    ),
    "forgotten": (
        *("forget", *ASK, "--model", "trained/model.safetensors", "--rows", "rows.csv"),
        *("--method", "dmm", "--attribution", "combined", "--half-models", 60),
        *("--out", "forgotten", "--store", "store"),
    ),
    "judged": (
        *("audit", *ASK, "--model", "trained/model.safetensors", "--store", "store"),
        *("--unlearned", "forgotten/model.safetensors", "--out", "judged"),
    ),
    "fitted": (
        *("attribute", *ASK, "--models", 60, "--out", "fitted/attribution.zip"),
        *("--store", "store"),
    ),
    "benched": (
        *("bench", "small.toml", "--group", 5, "--jobs", 1, "--out", "benched"),
        *("--store", "store"),
    ),
    "compared": ("compare", "mine.py:problem", "compared", "store", 1),
    "compared-by-two": ("compare", "mine.py:problem", "compared-by-two", "store", 2),
}
KILLS = {name: 8 for name in COMMANDS} | {"compared-by-two": 2}  # 50; workers import torch anew
OFTEN = 0.1  # seconds: half-done trainings are kept so often here
PATIENCE = 300.0


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Folders in which each command was left in peace."""
    folder = tmp_path_factory.mktemp("calm")
    assert ended(begin(["methods"], folder))  # the first imports everything
    # how many members train at once is timed, so it varies: all have what was found here
    asked = ("attribute", *ASK, "--models", 20, "--out", "a.zip", "--store", "store")
    assert ended(begin(asked, place(folder / "timed", folder, "")))
    return folder


def place(folder, calm, name):
    """A folder with what a command reads."""
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(PROBLEM)
    (folder / "small.toml").write_text(BENCH)
    (folder / "rows.csv").write_text("row\n3\n17\n29\n")
    if name:
        for kind in ("recipes", "groups"):
            shutil.copytree(calm / "timed/store" / kind, folder / "store" / kind)
    for other in {"forgotten": ["trained"], "judged": ["trained", "forgotten"]}.get(name, []):
        shutil.copytree(calm / other / other, folder / other)
    return folder


def finished(folder):
    """Results in the store of a folder that must outlast any kill."""
    store = folder / "store"
    return {path for path in store.rglob("*.json") if path.parent.name != "halfway"}


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
