"""evaluate(): predictions against retraining on sets left out at random."""

import json
from dataclasses import replace

import pytest
from torch import nn

from expunge.api.evaluate import evaluate
from expunge.contract.problems import tiny
from expunge.errors import BadInput


def test_every_kind_is_judged_and_drawn(runtime, tmp_path):
    kinds = ("linearised", "influence", "trak:dimension=16", "difference")
    found = evaluate(
        tiny(epochs=2),
        kinds,
        out=tmp_path,
        runtime=replace(runtime, group=5),
        num_sets=10,
        models_per_set=4,
        half_models=40,
        rows=12,
    )
    assert json.loads((tmp_path / "evaluation.json").read_text()) == found
    assert found["rows_left_out"] == 6
    assert len(found["rows"]) == 12
    assert 0 <= found["ceiling"]["low"] <= found["ceiling"]["value"] <= 1
    assert found["ceiling"]["models"] == 4
    assert found["attributions"].keys() == set(kinds)
    for kind, scores in found["attributions"].items():
        assert -1 <= scores["lds"]["value"] <= 1
        assert scores["lds"]["subsets"] == 10
        assert scores["forgotten"]["outputs"] == 10 * 6
        assert scores["test"]["outputs"] == 10 * 12
        name = kind.replace(":", "-").replace("=", "-")
        for figure in ("calibration", "rows"):
            assert (tmp_path / f"{name}-{figure}.svg").read_text().startswith("<svg")


def test_sets_of_a_count_are_left_out(runtime, tmp_path):
    found = evaluate(
        tiny(epochs=1),
        ("influence",),
        out=tmp_path,
        runtime=replace(runtime, group=5),
        num_sets=10,
        set_size=2,
        models_per_set=3,
        rows=4,
    )
    assert found["rows_left_out"] == 2
    assert found["attributions"]["influence"]["forgotten"]["outputs"] == 10 * 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"num_sets": 9}, "an evaluation with 9 sets.*at least 10 sets"),
        ({"set_fraction": 0.0}, "a share of 0"),
        ({"set_size": 0}, "sets of 0 rows.*from 1 to 59.*--set-size"),
        ({"set_size": 60}, "sets of 60 rows"),
        ({"models_per_set": 2}, "2 models a set.*at least 3"),
        ({"kinds": ("linearized",)}, "unknown attribution 'linearized'"),
    ],
)
def test_bad_input_is_told_before_any_work(runtime, tmp_path, given, told):
    asked = {"kinds": ("linearised",), **given}
    with pytest.raises(BadInput, match=told):
        evaluate(tiny(), asked.pop("kinds"), out=tmp_path, runtime=runtime, **asked)
    assert not list(runtime.store.keys("models"))


def test_a_trainer_has_no_damping_and_is_told_before_any_work(runtime, tmp_path):
    def trainer(data, rows, *, seed, device):
        return nn.Linear(6, 3)

    problem = replace(tiny(), recipe=trainer)
    with pytest.raises(BadInput, match="without a Recipe, from which the damping follows"):
        evaluate(problem, ("linearised",), out=tmp_path, runtime=runtime)
    assert not list(runtime.store.keys("models"))
