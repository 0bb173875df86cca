"""Killed fifty times at random moments, a comparison ends with the bytes of one left in peace."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

KILLS, LATEST = 50, 3.0  # seconds after the work began
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path

import expunge
from expunge.zoo.digits import digits, unusual_handwriting

if __name__ == "__main__":
    print("begins", flush=True)
    seed, out, store = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    base = digits()
    problem = replace(base, recipe=replace(base.recipe, epochs=5))
    problem = problem.forgetting(unusual_handwriting(problem))
    workshop = expunge.Workshop(
        expunge.Store(Path(store)), seed=seed, jobs=2, group=5, progress=False
    )
    methods = {name: expunge.method(name) for name in ("fine-tune", "dmm", "retrain")}
    expunge.compare(problem, methods, out=out, workshop=workshop, members=50)
    print("ends", flush=True)
"""


def start(folder, *words):
    """The script in a process group of its own, at the moment when its work begins."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "script.py", *map(str, words)],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "begins\n"
    return process


def killed(process, after):
    """Kill it and its processes after so many seconds; False where it has ended by then."""
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert process.returncode == 0
    return False


def content(folder):
    """Every file of the evidence, and audit.json without times."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "evidence").rglob("*"))
        if path.is_file()
    }
    return files, timeless(json.loads((folder / "audit.json").read_text()))


def timeless(part):
    if isinstance(part, dict):
        kept = {name: value for name, value in part.items() if name not in ("seconds", "run")}
        return {name: timeless(value) for name, value in kept.items()}
    return [timeless(value) for value in part] if isinstance(part, list) else part


@pytest.mark.slow
def test_fifty_kills_change_no_byte(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    draw, kills, seed = random.Random(0), 0, 0
    while kills < KILLS:
        began = time.monotonic()
        while killed(
            start(tmp_path, seed, f"torn-{seed}", f"store-{seed}"), draw.uniform(0, LATEST)
        ):
            kills += 1
            assert time.monotonic() - began < 400, "no way is made"
        assert not killed(start(tmp_path, seed, f"whole-{seed}", f"calm-{seed}"), 400)
        assert content(tmp_path / f"torn-{seed}") == content(tmp_path / f"whole-{seed}")
        seed += 1
