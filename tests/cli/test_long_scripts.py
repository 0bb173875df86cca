"""Benchmarks that take minutes run as they are; a file apart, so that another worker has them."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.cli.test_scripts import ROOT, started

CIFAR10 = Path(os.environ.get("EXPUNGE_DATA", ""), "cifar10/test-00000-of-00001.parquet")


@pytest.mark.slow
def test_a_benchmark_of_every_metric_is_written_verified_and_drawn(tmp_path):
    config, out = ROOT / "benchmarks/configs/digits_all_metrics.toml", tmp_path / "out"
    expunge = [Path(sys.executable).with_name("expunge")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*expunge, "bench", config, "--out", out], env=env, check=True, timeout=900)
    content = json.loads((out / "bench.json").read_text())
    names = content["config"]["metrics"]
    for cell in content["cells"]:
        if cell["method"] != "oracle" and cell["forget_set"] == "random 10 %":
            missing = [name for name in names if cell["scores"][name] is None]
            assert not missing, (cell["method"], missing, cell["not_measured"])
    for figure in ("klom-against-compute--random-10", "instability", "when-to-stop--random-10"):
        assert (out / f"{figure}.svg").is_file(), figure
    said = subprocess.run(
        [*expunge, "verify", out], env=env, check=True, capture_output=True, text=True, timeout=300
    )
    assert "bench.json" in said.stdout


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR10.is_file(), reason="EXPUNGE_DATA has no CIFAR-10")
def test_the_cifar10_table_is_made_in_pieces(tmp_path):
    run = partial(started, "tables.cifar10", tmp_path, "--quick")
    first = run("--minutes", "0.3", capture_output=True, text=True, check=False)
    assert first.returncode == 1
    assert "The same command goes on" in first.stderr
    assert not (tmp_path / "r.json").exists()
    begun = len(list((tmp_path / "store").rglob("*.json")))
    assert begun, "the first piece kept nothing"
    run()
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["ours"].keys() >= {"retrain", "original", "salun", "scrub", "ssd"}
    assert "| salun |" in (tmp_path / "r/beside.md").read_text()


@pytest.mark.slow
def test_the_cifar10_claims_are_made_from_klom_by_both_conventions_and_drawn_again(tmp_path):
    out = tmp_path / "r.json"
    run = partial(started, "matching.dmm cifar10", tmp_path, "--quick", "--half-models", "60")
    run()
    result = json.loads(out.read_text())
    assert {entry["method"] for entry in result["measured"]} >= {"retrain", "dmm, combined"}
    for entry in result["measured"]:
        assert entry["klom"]["value"] != entry["klom_paper"]["value"]
    assert all(claim["value"] is not None for claim in result["claims"])
    assert len(result["claims"]) == 9
    drawing = "klom-against-compute--one-way-to-write-a-seven.svg"
    before = {name: (tmp_path / "r" / name).read_bytes() for name in (drawing, "klom.md")}
    for name in before:
        (tmp_path / "r" / name).unlink()
    shutil.rmtree(tmp_path / "r/evidence")  # is not brought back from where it was run
    run("--plot")
    assert before == {name: (tmp_path / "r" / name).read_bytes() for name in before}
    assert json.loads(out.read_text())["claims"] == result["claims"]


@pytest.mark.slow
@pytest.mark.skipif(not CIFAR10.is_file(), reason="EXPUNGE_DATA has no CIFAR-10")
def test_matching_on_cifar10_is_made_in_pieces(tmp_path):
    run = partial(started, "matching.dmm cifar10", tmp_path, "--rows", "200")
    first = run("--minutes", "0.5", capture_output=True, text=True, check=False)
    assert first.returncode == 1
    assert "The same command goes on" in first.stderr
    assert not (tmp_path / "r.json").exists()
    assert list((tmp_path / "store").rglob("*.json")), "the first piece kept nothing"
    run()
    result = json.loads((tmp_path / "r.json").read_text())
    content = json.loads((tmp_path / "r/bench.json").read_text())
    assert not content["failed"]
    assert [one["forget_rows"] for one in content["forget_sets"]] == [10]
    labels = {entry["method"] for entry in result["measured"]}
    assert labels >= {"original", "retrain", "scrub", "oracle-matching", "dmm, linearised"}
    assert "not measured" in (tmp_path / "r/klom.md").read_text()  # one model is no distribution
