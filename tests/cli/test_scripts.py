"""The example and the benchmarks run as they are."""

import json
import os
import subprocess
import sys
from functools import partial
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMDB = Path(os.environ.get("EXPUNGE_DATA", ""), "imdb.parquet")


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
