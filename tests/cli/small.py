"""A small problem, and one command of each kind that works on it."""

import shutil

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
members = 12
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
# how many members train at once is timed, so it varies: all commands have what this one found
TIMED = ("attribute", *ASK, "--models", 20, "--out", "a.zip", "--store", "store")
COMMANDS = {  # by what they write; later ones read what earlier ones wrote
    "trained": (
        *("train", "--problem", "mine.py:long", "--store", "store", "--out", "trained"),
        *("--record", "rows.csv", "--track", "unlearning-error", "--measurements", 3),
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


def place(folder, calm, name=""):
    """A folder with what a command reads.

    Args:
        folder: made.
        calm: where other commands have written into folders of their names, TIMED into "timed".
        name: of the command, if it is one of COMMANDS.
    """
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
