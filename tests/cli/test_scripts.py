"""The example and the benchmarks run as they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_is_short_and_its_verdicts_are_right(tmp_path):
    script = ROOT / "examples" / "bring_your_own.py"
    assert len(script.read_text().splitlines()) < 60
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=env, check=True, timeout=300)
    for method, verdict in (("retrain", "supported"), ("fine-tune", "not supported")):
        document = json.loads((tmp_path / f"bring-your-own/{method}/audit.json").read_text())
        assert document["methods"][method]["verdict"] == verdict
        assert document["groups"]["models"]["oracle"] == 20


@pytest.mark.parametrize("name", ["demo_grid", "fashion_table", "pareto"])
def test_a_benchmark_runs_quickly(tmp_path, name):
    script = ROOT / "benchmarks" / f"{name}.py"
    words = ["--quick", "--out", tmp_path / "result.json", "--store", tmp_path / "store"]
    subprocess.run([sys.executable, script, *map(str, words)], check=True, timeout=300)
    result = json.loads((tmp_path / "result.json").read_text())
    for claim in result["claims"]:
        assert set(claim) == {"name", "value", "interval", "target", "holds"}
    assert {"machine", "versions", "commit"} <= set(result)
