"""`expunge train` and `expunge verification_error`: what they print, write and refuse."""

import json
import shlex
from functools import partial

import pytest

from tests.shell import run

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
recipe = expunge.Recipe(build, epochs=3, batch_size=20, optimizer=partial(torch.optim.SGD, lr=0.3))
problem = expunge.Problem(expunge.Classification(3), *parts, recipe=recipe)
momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
hasty = replace(problem, recipe=replace(recipe, optimizer=momentum))
"""
ASK = ("--problem", "mine.py:problem")


@pytest.fixture
def shell(tmp_path):
    """The command line in a folder of its own."""
    (tmp_path / "mine.py").write_text(PROBLEM)
    (tmp_path / "rows.csv").write_text("row\n3\n17\n29\n")
    return partial(run, cwd=tmp_path)


def test_help_says_what_the_commands_do(shell):
    train, verification_error = (" ".join(shell(name, "--help").stdout.split()) for name in TEXTS)
    for text, words in zip((train, verification_error), TEXTS.values(), strict=True):
        assert all(word in text for word in words), text
    both = shell("--help").stdout
    assert "Train one model, and remember how" in both
    assert "Measure how well models of this recipe can be unlearned" in both


TEXTS = {
    "train": (
        "--track",
        "unlearning-error",
        "--record",
        "--member",
        "single-gradient",
        "SDPenalty",
    ),
    "verification-error": (
        "--rows",
        "--members",
        "--measurements",
        "verification error",
        "Thudi et al. 2022",
    ),
}


def test_train_writes_a_model_that_forgets_and_its_command_repeats_it(shell, tmp_path):
    words = ("--seed", 2, "--member", 1, "--track", "unlearning-error", "--measurements", 3)
    done = shell("train", *ASK, "--out", "one", *words, "--record", "rows.csv")
    assert done.returncode == 0, done.stderr
    for said in ("Unlearning error along the training", "strict", "sigma", "not with a threshold"):
        assert said in done.stdout
    assert "Wrote one/model.safetensors and its history." in done.stdout
    names = {path.name for path in (tmp_path / "one").iterdir() if path.name != ".lock"}
    assert names == {
        *("model.safetensors", "model.history.json", "updates"),
        *("unlearning_error.json", "unlearning_error.svg"),
    }
    tracked = json.loads((tmp_path / "one/unlearning_error.json").read_text())
    assert [look["steps"] for look in tracked["measurements"]] == [5, 10, 15]
    facts = json.loads((tmp_path / "one/model.history.json").read_text())
    assert (facts["seed"], facts["member"], facts["recorded"]) == (2, 1, [3, 17, 29])

    # the command that it keeps repeats it
    (tmp_path / "one").rename(tmp_path / "first")
    again = shell(*shlex.split(facts["run"]["command"])[1:])
    assert again.returncode == 0, again.stderr
    for name in ("model.safetensors", "unlearning_error.json", "unlearning_error.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    repeated = json.loads((tmp_path / "one/model.history.json").read_text())
    apart = {"run": 0, "seal": 0}  # times, and the checksum of all
    assert {**repeated, **apart} == {**facts, **apart}
    assert repeated["run"]["command"] == facts["run"]["command"]

    # both methods forget from it, and know later what they need
    forget = ("forget", *ASK, "--rows", "rows.csv", "--model")
    for method in ("single-gradient", "amnesiac"):
        done = shell(*forget, "one/model.safetensors", "--method", method, "--out", method)
        assert done.returncode == 0, done.stderr
        assert f"3 rows forgotten with {method} (approximate)" in done.stdout
    (tmp_path / "more.txt").write_text("5\n")
    ask = ("forget", *ASK, "--rows", "more.txt", "--model", "single-gradient/model.safetensors")
    ask += ("--method", "single-gradient", "--out", "two")
    refused = shell(*ask)
    assert refused.returncode == 2
    assert "there is no single-gradient/model.history.json" in refused.stderr
    assert "--history FOLDER" in refused.stderr
    done = shell(*ask, "--history", "one")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "two/model.card.json").read_text())
    assert (card["forgotten"], card["forgotten_before"]) == ([5], [3, 17, 29])
    assert "--history one" in card["run"]["command"]

    taken = shell("train", *ASK, "--out", "one")
    assert taken.returncode == 2
    assert "one/model.safetensors exists" in taken.stderr


def test_estimate_says_which_methods_lack_a_history(shell, tmp_path):
    assert shell("train", *ASK, "--out", "one").returncode == 0
    ask = ("forget", *ASK, "--rows", "rows.csv", "--estimate", "--model")
    with_history = " ".join(shell(*ask, "one/model.safetensors").stdout.split())
    assert "no price: its training was not recorded: `expunge train --record`" in with_history
    assert "is not known" not in with_history
    (tmp_path / "one/model.safetensors").rename(tmp_path / "model.safetensors")
    without = " ".join(shell(*ask, "model.safetensors").stdout.split())
    assert without.count("no price: how the model was trained is not known") == 2
    told = " ".join(shell(*ask, "model.safetensors", "--history", "one").stdout.split())
    assert "is not known" not in told


def test_all_rows_are_recorded_in_one_word(shell, tmp_path):
    assert shell("train", *ASK, "--record", "all").returncode == 0
    assert len(list((tmp_path / "trained/updates").iterdir())) == 15
    facts = json.loads((tmp_path / "trained/model.history.json").read_text())
    assert facts["recorded"] == list(range(100))


def test_unrolling_prints_writes_and_goes_on(shell, tmp_path):
    ask = (
        "verification-error",
        *ASK,
        "--rows",
        "rows.csv",
        "--members",
        3,
        "--measurements",
        2,
        "--jobs",
        1,
    )
    done = shell(*ask, "--seed", 4)
    assert done.returncode == 0, done.stderr
    for said in ("Distance of weights from naive retraining", "single-gradient", "Correlation of"):
        assert said in done.stdout
    names = {path.name for path in (tmp_path / "verification-error").iterdir()}
    assert names == {"verification_error.json", "along.svg", "against.svg"}
    found = json.loads((tmp_path / "verification-error/verification_error.json").read_text())
    assert [look["steps"] for look in found["measurements"]] == [8, 15]
    assert f"{found['correlation']['strict']['value']:.2f}" in done.stdout
    command = found["run"]["command"]
    assert command.startswith(
        "expunge verification-error --problem mine.py:problem --rows rows.csv"
    )
    measured = sorted((tmp_path / ".expunge/unrolled").iterdir())
    before = [path.stat().st_mtime_ns for path in measured]
    assert shell(*shlex.split(command)[1:]).returncode == 0
    again = json.loads((tmp_path / "verification-error/verification_error.json").read_text())
    assert {**again, "run": 0} == {**found, "run": 0}
    assert again["run"]["command"] == command
    assert before == [path.stat().st_mtime_ns for path in measured]  # nothing is made again


def test_one_training_is_told_without_a_spread(shell):
    ask = (
        "verification-error",
        *ASK,
        "--rows",
        "rows.csv",
        "--members",
        1,
        "--measurements",
        1,
        "--jobs",
        1,
    )
    done = shell(*ask)
    assert done.returncode == 0, done.stderr
    assert "+-" not in "".join(
        line for line in done.stdout.splitlines() if line.strip()[:2] == "15"
    )
    assert "Correlation" not in done.stdout


def test_a_recipe_outside_the_theory_is_warned_about(shell):
    done = shell("train", "--problem", "mine.py:hasty", "--track", "unlearning-error")
    assert done.returncode == 0
    assert "Warning: the theory of unrolled SGD assumes plain SGD" in done.stderr
    assert "momentum 0.9" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--track", "nonsense"), "--track nonsense"),
        (("train", "--record", "missing.txt"), "there is no file missing.txt"),
        (("train", "--record", "far.txt"), "row 100 is out of range"),
        (("verification-error", "--rows", "missing.txt"), "there is no file missing.txt"),
        (("verification-error", "--rows", "far.txt"), "row 100 is out of range"),
    ],
)
def test_what_cannot_be_done_is_told_in_three_lines(shell, tmp_path, words, message):
    (tmp_path / "far.txt").write_text("100\n")
    refused = shell(words[0], *ASK, *words[1:], "--out", "never")
    assert refused.returncode == 2
    assert f"Error: {message}" in refused.stderr
    assert "Expected:" in refused.stderr
    assert "Fix:" in refused.stderr
    assert not (tmp_path / "never").exists()
