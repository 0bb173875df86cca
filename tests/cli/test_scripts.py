"""The example and the benchmarks run as they are."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMDB = Path(os.environ.get("EXPUNGE_DATA", ""), "imdb.parquet")
CIFAR10 = Path(os.environ.get("EXPUNGE_DATA", ""), "cifar10/test-00000-of-00001.parquet")


def test_the_example_is_short_and_its_verdicts_are_right(tmp_path):
    script = ROOT / "examples" / "bring_your_own.py"
    assert len(script.read_text().splitlines()) < 60
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=env, check=True, timeout=300)
    for method, verdict in (("retrain", "supported"), ("fine-tune", "not supported")):
        document = json.loads((tmp_path / f"bring-your-own/{method}/audit.json").read_text())
        assert document["methods"][method]["verdict"] == verdict
        assert document["groups"]["models"]["oracle"] == 20


@pytest.mark.slow
def test_the_example_of_a_text_classifier_is_short_and_retraining_comes_nearest(tmp_path):
    pytest.importorskip("transformers")
    script = ROOT / "examples" / "text_classifier.py"
    assert len(script.read_text().splitlines()) < 80
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, script], cwd=tmp_path, env=env, check=True, timeout=300)
    far = {}
    for method in ("fine-tune", "retrain"):
        document = json.loads((tmp_path / f"text-classifier/{method}/audit.json").read_text())
        assert document["problem"]["forget_rows"] == 3
        assert document["groups"]["models"]["oracle"] == 10
        far[method] = document["methods"][method]["distance"]["forget"]["rms"]
    assert far["retrain"] < 0.1 * far["fine-tune"]


@pytest.mark.slow
def test_the_example_of_a_model_over_two_devices_keeps_its_hooks(tmp_path):
    pytest.importorskip("accelerate")
    script = ROOT / "examples" / "accelerate_two_devices.py"
    assert len(script.read_text().splitlines()) < 80
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    words, pipes = [sys.executable, script], {"capture_output": True, "text": True}
    shown = subprocess.run(words, cwd=tmp_path, env=env, check=True, timeout=300, **pipes).stdout
    for line, method in zip(shown.splitlines(), ("fine-tune", "dmm"), strict=True):
        assert line.startswith(f"{method}: layers on ")
        assert "6 of 6 with their hooks" in line
        before, after = (
            int(part.split("%")[0].split()[-1]) for part in line.split("right:")[1].split(",")
        )
        assert after < before


slow = partial(pytest.param, marks=pytest.mark.slow)  # together they would take two minutes
QUICK = ["convex.theorems"]
SLOWER = [
    *("attribution.datamodel_fitting", "attribution.half_data", "attribution.run", "demo.grid"),
    *("demo.sets", "matching.digits", "matching.dmm fashion", "matching.settings"),
    *("scale.klom_streaming", "scale.rows", "scale.run", "speed.ensemble", "speed.unlearning"),
    *("tables.fashion", "tables.pareto", "unrolling.errors", "unrolling.klom"),
]


def started(name, folder, *more, **options):
    """A benchmark that runs in small, from the repository's root; its files are in the folder."""
    where = ["--out", folder / "r.json", "--store", folder / "store"]
    words = [sys.executable, "-m", *f"benchmarks.{name}".split(), *where, *more]
    options = {"check": True, "timeout": 600, **options}
    return subprocess.run([*map(str, words)], cwd=ROOT, **options)


@pytest.mark.parametrize("name", [*QUICK, *map(slow, SLOWER)])
def test_a_benchmark_runs_quickly(tmp_path, name):
    started(name, tmp_path, "--quick", timeout=300)
    result = json.loads((tmp_path / "r.json").read_text())
    for claim in result["claims"]:
        assert set(claim) == {"name", "value", "interval", "target", "holds"}
    assert {"machine", "versions", "commit"} <= set(result)


@pytest.mark.slow
@pytest.mark.skipif(not IMDB.is_file(), reason="EXPUNGE_DATA has no IMDB")
def test_the_benchmark_of_reviews_runs_quickly_and_reports_them_as_text(tmp_path):
    out = tmp_path / "r.json"
    started("matching.dmm imdb", tmp_path, "--quick")
    result = json.loads(out.read_text())
    names = [claim["name"] for claim in result["claims"]]
    assert len(names) == len(set(names)) == 6
    report = tmp_path / "r/report"
    texts = json.loads((report / "evidence/texts.json").read_text(encoding="utf-8"))["forget"]
    assert len(texts) == 20
    page = unescape((report / "report.html").read_text(encoding="utf-8"))
    shown = [text for text in texts if text.strip()[:10_000] in page]
    assert 4 <= len(shown) <= 8
    started("matching.dmm imdb", tmp_path, "--quick", "--plot")
    assert json.loads(out.read_text())["claims"] == result["claims"]


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
