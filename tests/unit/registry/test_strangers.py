"""Attributions, masks, forget sets, problems and tasks of other packages are used by name."""

import sys
import tomllib
from dataclasses import replace

import pytest
import torch

from expunge.attribution import registry as attributions
from expunge.audit.metrics import METRICS
from expunge.audit.verdict.document import document
from expunge.bench import parsing
from expunge.cli.inputs import load_problem
from expunge.contract.cases import originals, run, short, weights
from expunge.contract.problems import tiny
from expunge.errors import BadInput
from expunge.forget_sets import FORGET_SETS, build
from expunge.methods import MASKS, METHODS, masked
from expunge.problem import TASKS
from expunge.zoo.problems import PROBLEMS
from tests.packages import OFFERS, OTHERS, commands, package
from tests.unit.audit.folders import declared, evidence

REGISTRIES = (attributions.ATTRIBUTIONS, MASKS, FORGET_SETS, PROBLEMS, TASKS, METRICS)


@pytest.fixture(autouse=True)
def strangers(tmp_path, monkeypatch):
    """Install the package, and let registries look again."""
    monkeypatch.syspath_prepend(str(package(tmp_path / "site", OFFERS, OTHERS, "others")))
    monkeypatch.delitem(sys.modules, "others", raising=False)
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_offers", None)
        monkeypatch.setattr(registry, "_loaded", {})
    yield
    sys.modules.pop("others", None)


def test_every_stranger_is_listed():
    names = ["constant", "biases", "every", "fewer-digits", "scaled", "margin-spread"]
    for registry, name in zip(REGISTRIES, names, strict=True):
        assert [*registry] == [*registry.own, name]
        assert registry is METRICS or registry.settings(name)


def test_an_attribution_predicts_for_a_method():
    problem = tiny()
    assert attributions.from_models("constant")
    assert not attributions.from_halves("constant")
    assert not attributions.damped("constant:size=2")
    assert attributions.price("constant", problem, 7).forward_rows == 7
    models = originals(problem, 2)
    made = attributions.attributor("constant:size=2", problem, models, None, seed=0)
    assert made.without(problem.forget, torch.arange(3)).mean.unique().tolist() == [2.0]
    with pytest.raises(BadInput, match="constant with size = '-1'"):
        attributions.attributor("constant:-1", problem, models, None, seed=0)


def test_a_mask_holds_a_method():
    problem = tiny()
    models = originals(problem)
    method = masked(short(METHODS["fine-tune"]), "biases")
    assert method.source.endswith("mask: Ourselves 2026")
    before = weights(models)
    after = weights(method(problem, models, seed=0).models)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trainable = {name for name, _ in models.template.named_parameters()}
    assert moved & trainable == {name for name in trainable if "bias" in name}
    assert run(problem, METHODS["fine-tune"]).changed


def test_a_forget_set_is_built():
    problem = tiny()
    assert build("every", problem, seed=0, step=7).tolist() == [*range(0, len(problem.train), 7)]
    with pytest.raises(BadInput, match="forget set every with step = 0"):
        build("every", problem, seed=0, step=0)


def test_a_problem_is_loaded_by_its_name():
    found, build_model = load_problem("fewer-digits:rows=40")
    assert (len(found.train), build_model) == (40, None)
    assert len(load_problem("fewer-digits", None, {"rows": 30})[0].train) == 30
    with pytest.raises(BadInput, match="problem fewer-digits with rows = '3'"):
        load_problem("fewer-digits:3")


def test_a_task_is_made():
    assert TASKS.make("scaled:2").scale == 2.0
    assert TASKS.make("classification:classes=3").classes == 3


def test_a_metric_is_measured_in_an_audit_with_its_null(tmp_path):
    made = document(evidence(tmp_path), declared())
    (entry,) = made["methods"].values()
    for scores in (entry, made["original"], made["null"]):
        assert scores["metrics"]["margin-spread"]["value"] > 0


CONFIG = """
name = "strangers"
problem = "fewer-digits"
options = { rows = 60 }
forget = [{ name = "some", kind = "every", step = 9 }]
method = [{ name = "dmm", mask = "biases", settings = { attribution = "constant" } }]
"""


def test_a_benchmark_takes_them():
    config = parsing.parse(tomllib.loads(CONFIG))
    base, _ = load_problem(config.problem, None, config.options)
    (chosen,) = config.candidates[0].trials(1)
    problem = base.forgetting(build("every", base, seed=0, **config.forget[0].settings))
    models = originals(problem, 1)
    made = attributions.attributor(chosen.inner.attribution, problem, models, None, seed=0)

    def change(split, rows):
        return made.without(problem.forget, rows, split)

    inner = replace(chosen, inner=replace(chosen.inner, steps=2))
    inputs = METHODS["dmm"].__call__.__defaults__[0]
    assert inner(problem, models, replace(inputs, change=change), seed=0).changed > 0
    with pytest.raises(BadInput, match="forget set every without step"):
        parsing.parse(tomllib.loads(CONFIG.replace(", step = 9", "")))


def test_the_command_line_explains_them_and_uses_a_problem(tmp_path):
    site = tmp_path / "site"
    words = ("train", "--problem", "fewer-digits:rows=40", "--out", "model")
    (site / "rows.txt").write_text("1\n2\n")
    forget = ("forget", "--problem", "fewer-digits:rows=40", "--model", "model/model.safetensors")
    forget += ("--rows", "rows.txt", "--method", "fine-tune", "--epochs", "1", "--mask", "biases")
    asked = ("explain",), ("explain", "constant"), ("explain", "nothing"), words, forget
    told = commands(site, *asked)
    listed, explained, unknown, trained, forgotten = told
    assert listed[0] == 0
    assert "every" in listed[1]
    assert explained[0] == 0
    what = " ".join(explained[1].split())
    assert what.startswith("attribution constant The same change of every output.")
    assert "the change" in explained[1]
    assert unknown[0] == 2
    assert "nothing goes by the name 'nothing'" in unknown[2]
    assert trained[0] == 0, trained[2]
    assert forgotten[0] == 0, forgotten[2]
    assert "2 rows forgotten with fine-tune" in forgotten[1]
