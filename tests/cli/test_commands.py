"""The command line on a user's own model: what it prints, writes, refuses, and its exit codes."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.shell import run

ROOT = Path(__file__).parents[2]
PROBLEM = """
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
recipe = expunge.Recipe(build, epochs=6, batch_size=20, optimizer=partial(torch.optim.SGD, lr=0.3))
ids = [f"record-{i}" for i in range(100)]
ids[50] = ids[60] = "record-9"  # three rows of one person
problem = expunge.Problem(expunge.Classification(3), *parts, recipe=recipe, ids=ids)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    (folder / "mine.py").write_text(PROBLEM)
    code = "import torch; from mine import build; torch.save(build().state_dict(), 'model.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    (folder / "rows.csv").write_text("row,reason\n3,consent\n17,consent\n29,licence\n")
    return folder


ASK = ("--problem", "mine.py:problem", "--model", "model.pt")


@pytest.fixture(scope="module")
def forgotten(folder):
    """The rows of rows.csv forgotten by retraining, into the folder `one`."""
    done = run(
        "forget", *ASK, "--rows", "rows.csv", "--method", "retrain", "--out", "one", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done


def test_help_names_every_command(folder):
    shown = run("--help", cwd=folder)
    assert shown.returncode == 0
    for command in ("demo", "forget", "audit", "verify", "methods", "check-method"):
        assert command in shown.stdout


def test_methods_lists_source_claim_needs_and_settings(folder):
    shown = run("methods", cwd=folder).stdout
    for word in ("dmm", "arXiv 2410.23232", "approximate", "--lr ", "0.001", "half-data models"):
        assert word in shown


def test_forget_writes_a_model_and_its_card(folder, forgotten):
    assert "3 rows forgotten with retrain (exact)" in forgotten.stdout
    card = json.loads((folder / "one/model.card.json").read_text())
    assert card["schema"] == "expunge.card/1"
    assert card["forgotten"] == [3, 17, 29]
    assert card["forgotten_before"] == []
    assert card["cost"]["relative_to_retrain"] == pytest.approx(80 / 97)  # full batches only
    assert len(card["parent"]) == len(card["weights"]) == 64


def test_a_second_request_knows_what_is_gone(folder, forgotten):
    (folder / "more.txt").write_text("5\n3\n")
    ask = ("forget", "--problem", "mine.py:problem", "--model", "one/model.safetensors")
    refused = run(*ask, "--rows", "more.txt", "--method", "fine-tune", "--out", "two", cwd=folder)
    assert refused.returncode == 2
    assert "row 3 (id 'record-3') was already forgotten" in refused.stderr
    assert not (folder / "two").exists()
    (folder / "more.txt").write_text("5\n")
    done = run(*ask, "--rows", "more.txt", "--method", "fine-tune", "--out", "two", cwd=folder)
    assert done.returncode == 0, done.stderr
    card = json.loads((folder / "two/model.card.json").read_text())
    assert (card["forgotten"], card["forgotten_before"]) == ([5], [3, 17, 29])


def test_rows_may_be_record_ids(folder):
    (folder / "ids.csv").write_text("id\nrecord-4\nrecord-8\n")
    ask = ("forget", *ASK, "--rows", "ids.csv", "--method", "fine-tune")
    assert run(*ask, "--out", "byid", "--lr", "0.1", cwd=folder).returncode == 0
    card = json.loads((folder / "byid/model.card.json").read_text())
    assert card["forgotten"] == [4, 8]
    assert card["settings"]["lr"] == 0.1
    (folder / "ids.csv").write_text("id\nrecord-400\n")
    assert "record id 'record-400' is unknown" in run(*ask, cwd=folder).stderr


def test_an_id_names_all_rows_of_a_person(folder):
    (folder / "person.csv").write_text("name,id\nAda,record-9\nBob,record-2\n")
    ask = ("forget", *ASK, "--method", "fine-tune", "--epochs", "1")
    done = run(*ask, "--rows", "person.csv", "--out", "person", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "4 rows forgotten" in done.stdout
    assert "These are rows of 2 persons." in done.stdout
    card = json.loads((folder / "person/model.card.json").read_text())
    assert card["forgotten"] == [2, 9, 50, 60]
    assert card["people"]["ids"] == ["record-2", "record-9", "record-9", "record-9"]

    (folder / "part.csv").write_text("row\n9\n")
    done = run(*ask, "--rows", "part.csv", "--out", "part", cwd=folder)
    assert "These are rows of 1 person; 1 of them has rows that stay." in done.stdout

    again = ("forget", "--problem", "mine.py:problem", "--model", "person/model.safetensors")
    refused = run(*again, "--rows", "person.csv", "--method", "fine-tune", cwd=folder)
    assert refused.returncode == 2
    assert "record ids 'record-9', 'record-2' were already forgotten (2 of 2)" in refused.stderr
    refused = run(*again, "--rows", "part.csv", "--method", "fine-tune", cwd=folder)
    assert "row 9 (id 'record-9') was already forgotten" in refused.stderr
    (folder / "unknown.csv").write_text("id\nrecord-9\nx\ny\n")
    refused = run(*ask, "--rows", "unknown.csv", cwd=folder)
    assert "record ids 'x', 'y' are unknown (2 of 3)" in refused.stderr


def test_audit_then_verify(folder, forgotten):
    judge = (
        "audit",
        *ASK,
        "--unlearned",
        "one/model.safetensors",
        "--oracles",
        "10",
        "--jobs",
        "1",
    )
    done = run(*judge, "--out", "judged", cwd=folder)
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "judged/audit.json").read_text())
    assert document["problem"]["forget_rows"] == 3
    assert document["methods"]["retrain"]["verdict_metric"] == "distance"
    assert "<html" in (folder / "judged/report.html").read_text()
    good = run("verify", "judged", cwd=folder)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "every number" in good.stdout

    # the same from arrays alone
    done = run("audit", "--evidence", "judged/evidence", "--out", "arrays", cwd=folder)
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "arrays/audit.json").read_text())
    assert again["methods"]["retrain"]["distance"] == document["methods"]["retrain"]["distance"]

    document["methods"]["retrain"]["distance"]["forget"]["rms"] += 0.5
    (folder / "judged/audit.json").write_text(json.dumps(document))
    bad = run("verify", "judged", cwd=folder)
    assert bad.returncode == 1
    assert "methods.retrain.distance.forget.rms" in bad.stdout


def test_estimate_spends_nothing_and_recommends(folder):
    before = sorted(path.name for path in folder.iterdir())
    ask = ("forget", *ASK, "--rows", "rows.csv", "--estimate")
    shown = run(*ask, "--store", "fresh-store", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert "Recommended: --method retrain" in shown.stdout
    assert "Before dmm: linearised attribution of this forget set" in shown.stdout
    within = run(*ask, "--budget", "0.4", "--store", "fresh-store", cwd=folder)
    assert "Recommended: --method fine-tune --epochs 3" in within.stdout
    after = sorted(path.name for path in folder.iterdir() if path.name != "fresh-store")
    assert [n for n in after if n not in ("__pycache__",)] == [
        n for n in before if n not in ("__pycache__", "fresh-store")
    ]


REFUSED = [
    (("--rows", "rows.csv", "--method", "fine-tun"), "did you mean 'fine-tune'?"),
    (("--rows", "rows.csv", "--method", "fine-tune", "--lrr", "1"), "did you mean 'lr'?"),
    (("--rows", "rows.csv", "--method", "fine-tune", "--lr", "fast"), "Expected: lr of at least 0"),
    (("--rows", "rows.csv", "--method", "dm-direct", "--half-models", "20"), "leaves the weights"),
    (
        (
            "--rows",
            "absent.csv",
        ),
        "there is no file absent.csv",
    ),
    (
        (
            "--rows",
            "word.txt",
        ),
        "line 1 of word.txt is 'three'",
    ),
    (
        (
            "--rows",
            "far.txt",
        ),
        "row 100 is out of range",
    ),
    (
        (
            "--rows",
            "twice.txt",
        ),
        "row 3 (id 'record-3') is given more than once",
    ),
    (
        (
            "--rows",
            "all.txt",
        ),
        "all 100 rows are to be forgotten",
    ),
    (
        (
            "--rows",
            "empty.txt",
        ),
        "empty.txt is empty",
    ),
    (("--rows", "rows.csv", "--budget", "-1"), "a budget of -1.0"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_bad_input_is_told_in_three_lines_without_a_traceback(folder, words, message):
    files = {"word": "three\n", "far": "100\n", "twice": "3\n3\n", "empty": ""}
    files["all"] = "\n".join(map(str, range(100)))
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    shown = run("forget", *ASK, *words, "--out", "never", cwd=folder)
    assert shown.returncode == 2
    assert message in shown.stderr
    assert "Expected:" in shown.stderr
    assert "Fix:" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (folder / "never").exists()


def test_other_inputs_that_cannot_be_used(folder, forgotten):
    audit = ("audit", *ASK, "--unlearned", "one/model.safetensors")
    few = run(*audit, "--oracles", "9", cwd=folder)
    assert (few.returncode, "9 oracles" in few.stderr) == (2, True)
    half = run("audit", "--problem", "mine.py:problem", cwd=folder)
    assert "--model, --unlearned not given" in half.stderr
    wrong = run("forget", "--problem", "mine.py:problm", *ASK[2:], "--rows", "rows.csv", cwd=folder)
    assert "did you mean 'problem'?" in wrong.stderr
    torch.save({"weights": torch.zeros(3)}, folder / "other.pt")
    ask = ("forget", *ASK[:2], "--model", "other.pt", "--rows", "rows.csv")
    assert "other.pt does not fit the model" in run(*ask, cwd=folder).stderr
    torch.save(csv.reader, folder / "code.pt")
    ask = ("forget", *ASK[:2], "--model", "code.pt", "--rows", "rows.csv")
    assert "more than tensors" in run(*ask, cwd=folder).stderr
    (folder / "file").write_text("in the way")
    ask = ("forget", *ASK, "--rows", "rows.csv", "--method", "fine-tune", "--out", "file/sub")
    assert "cannot write" in run(*ask, cwd=folder).stderr


def test_an_evaluation_leaves_out_as_many_rows_as_asked_and_says_what_noise_leaves(folder):
    words = ("attribute", "--evaluate", *ASK[:2], "--kind", "influence", "--store", "kept")
    few = ("--num-sets", 10, "--models-per-set", 3, "--jobs", 1)
    none = run(*words, *few, "--set-size", 0, "--out", "never", cwd=folder)
    assert (none.returncode, "sets of 0 rows" in none.stderr) == (2, True)
    assert "change --set-size" in none.stderr
    assert not (folder / "never").exists()
    shown = run(*words, *few, "--set-size", 4, "--out", "judged", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert "10 sets of 4 rows left out, 3 models retrained" in shown.stdout
    found = json.loads((folder / "judged/evaluation.json").read_text())
    assert f"at best {found['ceiling']['value']:.2f}" in shown.stdout
    assert "--set-size 4" in found["run"]["command"]


def test_bench_says_what_is_missing(tmp_path):
    for words, said in ((["bench"], "no config was given"), (["bench", "--draw"], "there is no")):
        refused = run(*words, "--out", "x", cwd=tmp_path)
        assert refused.returncode == 2
        assert said in refused.stderr
