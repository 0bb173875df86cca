"""The demo: what it writes, that it resumes, and the numbers that it must show."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

from expunge.zoo.demo import METHODS

GROUPS = ("forget", "retain", "test")


def start(folder, *words):
    command = [
        sys.executable,
        "-c",
        "from expunge.cli import main; main()",
        "demo",
        "--out",
        folder,
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, command), *words], start_new_session=True, **pipes)


def run(folder, *words):
    process = start(folder, *words)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return out


def without_times(folder):
    document = json.loads((folder / "audit.json").read_text())
    for fact in ("date", "seconds", "command"):
        del document["run"][fact]
    for entry in document["methods"].values():
        del entry["cost"]["seconds"]
    return document


def test_a_small_demo_is_whole(tmp_path):
    out = run(tmp_path / "small", "--members", "10", "--half-models", "40", "--group", "10")
    document = json.loads((tmp_path / "small/audit.json").read_text())
    assert document["schema"] == "expunge.audit/1"
    assert set(document["methods"]) == set(METHODS)
    for entry in document["methods"].values():
        assert entry["klom"] is None  # ten models are too few, and it says so
        assert set(entry["distance"]) == set(GROUPS)
        wanted = {"forward_rows", "backward_rows", "row_units", "seconds", "relative_to_retrain"}
        assert set(entry["cost"]) == wanted
    assert "50" in document["not_measured"]["klom"]
    files = {path.stem for path in (tmp_path / "small/evidence").glob("*.safetensors")}
    judged = {f"unlearned-{name}" for name in METHODS}
    arrays = {"targets", "pictures", "untrained"}
    assert files == {"original", "oracle", "null"} | arrays | judged
    targets = load_file(tmp_path / "small/evidence/targets.safetensors")
    for name in files - arrays:
        arrays = load_file(tmp_path / f"small/evidence/{name}.safetensors")
        assert {group: tuple(arrays[group].shape) for group in GROUPS} == {
            group: (10, len(targets[group]), 10) for group in GROUPS
        }
    assert len(targets["forget_rows"]) == 30
    assert not set(targets["forget_rows"].tolist()) & set(targets["retain_rows"].tolist())
    assert "retrain" in out
    assert "not measured" in out


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_and_ends_the_same(tmp_path):
    words = ("--members", "50", "--half-models", "60", "--group", "10")
    run(tmp_path / "whole", *words)
    for seconds in (4, 9, 13, 18):
        process = start(tmp_path / "killed", *words)
        time.sleep(seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    run(tmp_path / "killed", *words)
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "whole")


@pytest.mark.slow
def test_the_demo_shows_what_it_is_for(tmp_path):
    run(tmp_path / "demo")
    document = json.loads((tmp_path / "demo/audit.json").read_text())
    null, methods = document["null"]["klom"], document["methods"]

    def p95(name):
        return [methods[name]["klom"][group]["p95"] for group in GROUPS]

    assert max(null[group]["p95"] for group in GROUPS) < 0.9
    assert document["original"]["klom"]["forget"]["p95"] > 5
    for group, value in zip(GROUPS, p95("retrain"), strict=True):
        assert value <= null[group]["interval"][1]
    for name, limits in (("oracle-matching", (1.5, 1.4, 1.4)), ("dmm", (4, 2.2, 1.8))):
        assert methods[name]["cost"]["relative_to_retrain"] <= 0.25
        assert all(v < limit for v, limit in zip(p95(name), limits, strict=True)), (name, p95(name))
    rivals = ("fine-tune", "gradient-ascent", "ascent-descent", "random-label")
    best = min(methods[name]["klom"]["average_p95"] for name in rivals)
    assert methods["dmm"]["klom"]["average_p95"] <= best / 2
    assert methods["retrain"]["verdict"] == "supported"
    assert methods["oracle-matching"]["verdict"] == "supported"
    for name in rivals:
        assert methods[name]["verdict"] == "not supported"
    check = [sys.executable, "-c", "from expunge.cli import main; main()", "verify"]
    subprocess.run([*check, tmp_path / "demo"], check=True)
