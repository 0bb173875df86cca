"""Whole requests on rows of text that a data set pads: a benchmark, prices, half-data models."""

from dataclasses import replace

import pytest
import torch

from expunge.api.attribute import attribute
from expunge.api.estimate import estimate
from expunge.api.forget import forget
from expunge.bench.parsing import parse
from expunge.bench.run import run
from expunge.contract.cases import originals
from expunge.forget_sets import build

from .problems import CLASSES, Mean, padded, texts

CONTENT = {
    "name": "text",
    "problem": "text",
    "judged_rows": 20,
    "relearning": 1,
    "metrics": ["UA", "RA", "TA", "ZRF", "relearn"],
    "members": 3,
    "forget": [{"name": "a class", "kind": "class", "label": 1}],
    "method": [
        {"name": "fine-tune", "settings": {"epochs": 1}},
        {"name": "ssd", "mask": "saliency:0.5", "settings": {"alpha": 1.0}},
        {"name": "boundary-shrink"},
        {"name": "boundary-expand", "settings": {"epochs": 1, "keep_class": True}},
    ],
}


def question(**recipe):
    return replace(texts(Mean, padded, **recipe), forget=torch.empty(0, dtype=torch.int64))


@pytest.mark.slow
def test_a_benchmark_scores_what_it_can_and_says_what_it_cannot(runtime, tmp_path):
    content = run(parse(CONTENT), question(epochs=1), tmp_path / "out", runtime)
    methods = {cell["method"] for cell in content["cells"]}
    assert {"oracle", "original", "fine-tune", "ssd + mask", "boundary-expand"} <= methods
    assert "boundary-shrink" not in methods
    assert "inputs of dict for boundary-shrink" in str(content["choices"])
    for cell in content["cells"]:
        assert cell["scores"]["UA"] is not None


def test_every_method_is_priced(runtime):
    problem = question().forgetting([3, 7])
    (model,) = originals(problem, 1).modules()
    assert all(price.own.row_units >= 0 for price in estimate(problem, model, runtime).prices)


def test_half_data_models_serve_a_request(runtime, tmp_path):
    problem = question(epochs=1)
    (model,) = originals(problem, 1).modules()
    attribute(problem, out=tmp_path / "halves", runtime=runtime, models=20)
    named = {"attribution": str(tmp_path / "halves"), "steps": 2}
    done = forget(model, problem, [3, 7], method="dmm", runtime=runtime, **named)
    assert done.card.changed > 0


def test_forget_sets_of_labels_are_found():
    problem = question()
    rows = build("class", problem, label=2, seed=0)
    assert len(rows) == 60 // CLASSES
    assert (rows % CLASSES == 2).all()
