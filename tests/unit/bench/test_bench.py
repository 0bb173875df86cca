"""A whole small benchmark: what it writes, that it resumes, and that its numbers follow."""

import json

import pytest
import torch

from expunge.bench.choice import oracle_free
from expunge.bench.content import gaps_of
from expunge.bench.parsing import parse
from expunge.bench.render import render
from expunge.bench.rescore import verify
from expunge.bench.run import run
from expunge.bench.stopping import judged
from expunge.bench.tables import _of_all, error_of, tables
from expunge.contract.problems import ridge, tiny, tiny64
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from tests.unit.bench.made import evidence

CONTENT = {
    "name": "tiny",
    "problem": "tiny",
    "seeds": [0, 1],
    "judged_rows": 20,
    "relearning": 2,
    "metrics": ["UA", "RA", "TA", "MIA", "loss AUC", "ZRF", "relearn", "KLoM"],
    "figures": ["shares", "spread"],
    "tuning": {"trials": 2, "seed": 9},
    "forget": [
        {"name": "some", "kind": "random", "share": 0.2},
        {"name": "a class", "kind": "class", "label": 1},
    ],
    "method": [
        {"name": "fine-tune", "settings": {"epochs": 1, "lr": [0.01, 0.1]}},
        {"name": "ssd", "mask": "saliency:0.5", "settings": {"alpha": [0.5, 1.0]}},
        {"name": "gradient-ascent", "settings": {"lr": [0.01, 1e30]}},
        {"name": "boundary-expand", "settings": {"epochs": 1, "keep_class": True}},
        {"name": "influence", "settings": {"samples": 20, "alpha": [0.1, 1.0]}},
    ],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    runtime = Runtime(Store(out / "store"), jobs=1, group=1, progress=False)
    base = tiny(forget=())
    return out, runtime, base, run(parse(CONTENT), base, out, runtime)


def test_every_cell_is_there_with_its_scores(done):
    _, _, _, content = done
    lines = {(c["forget_set"], c["seed"], c["method"]) for c in content["cells"]}
    labels = {c["method"] for c in content["cells"]}
    assert {"oracle", "original", "retrain", "fine-tune", "ssd + mask"} <= labels
    assert len(lines) == 2 * 2 * (3 + 5)
    for cell in content["cells"]:
        assert cell["scores"]["KLoM"] is None
        assert (
            "needs at least 50 models" in cell["not_measured"]["KLoM"] or cell["method"] == "oracle"
        )
        assert len(cell["scores"]["UA"]["values"]) == 1


def test_a_trial_that_diverges_is_told_and_not_chosen(done):
    _, _, _, content = done
    for choice in content["choices"]:
        if choice["method"] == "gradient-ascent":
            assert [bool(trial["failed"]) for trial in choice["trials"]] == [False, True]
            assert all(chosen["lr"] == 0.01 for chosen in choice["chosen"].values())


def test_the_class_that_is_forgotten_whole_is_left_out_of_the_test_rows(done):
    _, _, _, content = done
    emptied = {e["forget_set"]: e["emptied"] for e in content["forget_sets"]}
    assert emptied == {"some": [], "a class": [1]}
    retrain = [
        c for c in content["cells"] if c["forget_set"] == "a class" and c["method"] == "retrain"
    ]
    assert all(c["scores"]["UA"]["values"] == [100.0] for c in retrain)


def test_every_number_follows_from_the_answers(done):
    out, *_ = done
    assert verify(out) == []
    path = out / "bench.json"
    before = path.read_text()
    content = json.loads(before)
    content["cells"][4]["scores"]["UA"]["values"][0] += 1
    path.write_text(json.dumps(content))
    (said,) = verify(out)
    assert said.startswith("cells[4].scores.UA.values[0]: file says")
    path.write_text(before)


def test_a_file_older_than_some_metric_still_follows_from_its_answers(done):
    out, *_ = done
    path = out / "bench.json"
    before = path.read_text()
    content = json.loads(before)
    for cell in content["cells"]:
        assert cell["not_measured"].pop("privacy risk") == "not asked for in the config"
    path.write_text(json.dumps(content))
    assert verify(out) == []
    path.write_text(before)


def test_a_second_run_makes_nothing_again(done, monkeypatch):
    out, runtime, base, content = done
    monkeypatch.setattr("expunge.training.model_cache._make_block", None)
    monkeypatch.setattr("expunge.api.collect_outputs._unlearn_block", None)
    again = run(parse(CONTENT), base, out, runtime)
    assert again["cells"] == content["cells"]


def test_tables_name_every_method_and_what_is_missing(done, tmp_path):
    *_, content = done
    written = {path.name: path.read_text() for path in render(content, tmp_path)}
    for name in ("tables.md", "tables.tex", "index.html"):
        assert all(word in written[name] for word in ("fine-tune", "boundary-expand", "retrain"))
    assert "not measured" in written["tables.md"]
    assert "one strength alpha" in written["instability.svg"]
    assert "needs at least 50 models on each side" in written["tables.md"]


def test_the_rule_without_oracles_sees_lost_accuracy_and_a_class_still_known():
    y = {
        "forget": torch.tensor([1, 1]),
        "retain": torch.tensor([0, 0]),
        "test": torch.tensor([0, 1]),
    }
    right = {g: 4.0 * torch.nn.functional.one_hot(t, 2)[None].float() for g, t in y.items()}
    wrong = {**right, "retain": -right["retain"]}
    given = evidence(right, right, y, emptied=[1])
    known = 100 * 1.0  # the class is still recognised everywhere
    assert oracle_free(right, given) == pytest.approx(known)  # equal losses: nothing is learnt
    assert oracle_free(wrong, given) == pytest.approx(known + 100)
    assert oracle_free(right, evidence(right, right, y)) == pytest.approx(0)


WRONG = {
    "a judged seed": ({**CONTENT, "tuning": {"trials": 2, "seed": 1}}, "at least 10 members"),
    "a kind": ({**CONTENT, "forget": [{"name": "x", "kind": "randum"}]}, "did you mean 'random'"),
    "no seeds": ({**CONTENT, "seeds": []}, "`seeds` of the config is .*a list, at least 1"),
    "a word": ({**CONTENT, "members": "10"}, "`members` of the config is '10'.*a whole number"),
    "no table": ({**CONTENT, "tuning": 3}, "`tuning` of the config is 3.*a table"),
    "settings": ({**CONTENT, "method": [{"name": "ssd", "settings": 3}]}, "`settings` of a"),
    "an unknown key": ({**CONTENT, "seed": [1]}, r"unknown key 'seed' \(did you mean 'seeds'"),
    "an unknown metric": ({**CONTENT, "metrics": ["UAA"]}, "metrics of the config: 'UAA'"),
    "too few trials": ({**CONTENT, "tuning": {"trials": 5, "seed": 1}}, "2 settings to try"),
    "no tuning": ({k: v for k, v in CONTENT.items() if k != "tuning"}, "there is no .tuning."),
    "the same label": (
        {**CONTENT, "method": [{"name": "retrain"}, {"name": "retrain"}]},
        "'retrain' is there twice",
    ),
    "a line that is always there": (
        {**CONTENT, "method": [{"name": "fine-tune", "label": "retrain"}]},
        "'retrain' is a line of every benchmark",
    ),
    "the same metric": ({**CONTENT, "metrics": ["UA", "UA"]}, "'UA' is there twice"),
    "a method's own": (
        {**CONTENT, "method": [{"name": "fine-tune", "settings": {"lrr": 1}}]},
        "fine-tune has no setting 'lrr'",
    ),
    "too few oracles": (
        {**CONTENT, "stopping": {"methods": ["ssd + mask"]}},
        "more than 10 oracles",
    ),
    "nothing to watch": ({**CONTENT, "stopping": {"methods": ["ssd"]}}, r"methods of \[stopping\]"),
    "a mask": ({**CONTENT, "method": [{"name": "ssd", "mask": "half"}]}, "unknown mask 'half'"),
}


@pytest.mark.parametrize(("content", "match"), WRONG.values(), ids=WRONG)
def test_a_config_that_cannot_be_run_is_refused_before_any_work(content, match):
    with pytest.raises(BadInput, match=match):
        parse(content)


def test_a_regression_has_no_benchmark(tmp_path, runtime):
    with pytest.raises(BadInput, match="a benchmark of a regression"):
        run(parse(CONTENT), ridge(), tmp_path, runtime)


def cell(margin):
    """Models that have these margins on the rows of each group, all of class 0."""
    z = torch.tensor(margin, dtype=torch.float64)
    return dict.fromkeys(("forget", "retain", "test"), torch.stack([z, torch.zeros_like(z)], -1))


ZEROS = {group: torch.zeros(2).long() for group in ("forget", "retain", "test")}


def test_a_run_is_judged_by_the_oracles_and_from_where_it_began():
    near = [[0.1 * k - 0.5, 0.1 * k] for k in range(11)]  # means 0 and 0.5, none far off
    oracle, original = cell(near), cell([[5.0, 5.0]])
    found = {
        "on": torch.tensor([[5.0, 5.0], [0.0, 0.5]]),
        "past": torch.tensor([[5.0, 5.0], [-5.0, 0.5]]),
        "on steps": torch.tensor([0, 3]),
        "past steps": torch.tensor([0, 4]),
    }
    made = judged(found, evidence(original, oracle, ZEROS))
    assert list(made["runs"]) == ["on", "past"]
    assert made["runs"]["on"]["overshoots"] == [False, False]
    assert made["runs"]["past"]["overshoots"] == [True, False]
    assert made["runs"]["past"]["steps"] == [0, 4]
    sd = torch.tensor([k / 10 for k in range(11)]).double().std()
    best = float(-sd.log() - torch.tensor(2 * torch.pi).log() / 2)
    assert made["runs"]["on"]["loglik"][1] == pytest.approx([best, best], rel=1e-4)
    assert made["band"][1] <= best + 0.2
    assert made["chance"] == 0.0
    away = torch.tensor(near)
    away[0] = -3.0  # one of eleven, on the far side, far outside the others
    assert judged(found, evidence(original, cell(away.tolist()), ZEROS))["chance"] == pytest.approx(
        1 / 11
    )


def test_gaps_are_those_to_the_retrained_models_of_the_same_set(done):
    *_, content = done
    found = gaps_of(content, "some", "fine-tune", "oracle")
    own, retrained = (
        [v for c in content["cells"] if pick(c) for v in c["scores"]["UA"]["values"]]
        for pick in (
            lambda c: (
                (c["forget_set"], c["method"]) == ("some", "fine-tune") and "oracle" in c["rules"]
            ),
            lambda c: (c["forget_set"], c["method"]) == ("some", "retrain"),
        )
    )
    assert len(own) == len(retrained) == 2
    assert found.metrics["UA"].gap == pytest.approx(sum(own) / 2 - sum(retrained) / 2)
    assert found.metrics["UA"].reference == pytest.approx(sum(retrained) / 2)


WATCHED = {
    **{key: CONTENT[key] for key in ("name", "problem")},
    "members": 11,
    "judged_rows": 10,
    "metrics": ["UA", "m-entropy by class", "privacy risk"],
    "forget": CONTENT["forget"],
    "method": [
        {"name": "gradient-ascent", "settings": {"lr": 3.0}},
        {"name": "oracle-matching", "settings": {"steps": 90, "lr": 0.01}},
        {"name": "ssd"},
    ],
    "stopping": {"methods": ["gradient-ascent", "oracle-matching"], "forget": "a class"},
}


def test_runs_are_watched_judged_and_drawn(tmp_path):
    runtime = Runtime(Store(tmp_path / "store"), jobs=1, progress=False)
    content = run(parse(WATCHED), tiny(forget=()), tmp_path, runtime)
    runs = content["stopping"]["runs"]
    ascent, matching = (runs[label] for label in WATCHED["stopping"]["methods"])
    assert matching["steps"] == list(range(0, 91, 2)), "thinned as it grew too long"
    assert ascent["steps"][0] == 0
    assert sum(ascent["overshoots"]) > sum(matching["overshoots"]), "ascent knows no end"
    middle = {k: [sorted(row)[len(row) // 2] for row in one["loglik"]] for k, one in runs.items()}
    assert middle["gradient-ascent"][-1] < middle["oracle-matching"][-1]
    before = runs["gradient-ascent"]["loglik"][0], runs["oracle-matching"]["loglik"][0]
    assert before[0] == pytest.approx(before[1]), "both begin with the first original"
    assert any(p.name == "when-to-stop--a-class.svg" for p in render(content, tmp_path))
    assert verify(tmp_path) == []
    for name in ("m-entropy by class", "privacy risk"):
        lines = entries(content, "some, settings chosen in the config")[0]
        assert lines["retrain"][name].n == lines["ssd"][name].n == 11
        assert lines["retrain"][name].gap is None, "the null stands beside"
        assert lines["ssd"][name].gap is not None
    (tmp_path / "stopping.safetensors").unlink()
    with pytest.raises(BadInput, match=r"stopping.safetensors is missing or damaged"):
        verify(tmp_path)


def test_a_method_without_steps_cannot_be_watched(tmp_path):
    asked = {**WATCHED, "stopping": {"methods": ["ssd"]}}
    runtime = Runtime(Store(tmp_path / "store"), jobs=1, progress=False)
    with pytest.raises(BadInput, match=r"ssd for the stopping-time figure.*\[stopping\]"):
        run(parse(asked), tiny(forget=()), tmp_path, runtime)


def entries(content, title):
    """Of the table with this in its title: method -> column -> cell, and why some are missing."""
    (grid,) = (grid for grid in tables(content) if title in grid.title)
    return {line.method: line.cells for line in grid.lines}, grid


def test_a_method_that_fails_on_one_seed_has_no_mean_of_the_others(done):
    *_, content = done
    title = "some, settings chosen without"
    assert entries(content, title)[0]["ssd + mask"]["UA"].n == 2
    gone = [c for c in content["cells"] if (c["method"], c["seed"]) != ("ssd + mask", 1)]
    place = {"forget_set": "some", "seed": 1, "method": "ssd + mask"}
    why = {**place, "rules": ["oracle-free"], "why": "it diverged"}
    lines, grid = entries({**content, "cells": gone, "failed": [why]}, title)
    assert not lines["ssd + mask"]
    assert grid.why("ssd + mask", "UA") == "failed on seed 1: it diverged"


def test_chance_stands_beside_the_average_gap_and_retraining_has_none(done):
    *_, content = done
    lines, grid = entries(content, "some, settings chosen without")
    found = gaps_of(content, "some", "fine-tune", "oracle-free")
    assert lines["fine-tune"]["Avg. Gap"].mean == pytest.approx(found.average)
    assert lines["fine-tune"]["by chance"].mean == pytest.approx(found.chance)
    assert "Avg. Gap" not in lines["retrain"]
    assert "judged by" in grid.why("retrain", "Avg. Gap")


def test_an_unresolved_klom_is_not_measured_and_errors_are_combined(done):
    *_, content = done
    own = [c for c in content["cells"] if c["method"] == "fine-tune"][:2]

    def both(**more):
        scores = [{"value": 1.0, "se": {"mean": e}, "hidden": False} | more for e in (0.3, 0.4)]
        return [{**c, "scores": {"KLoM": s}} for c, s in zip(own, scores, strict=True)]

    made = _of_all("KLoM", both(), both(), 100)
    assert (made.mean, made.n, made.gap) == (1.0, 200, 0.0)
    assert made.sd == pytest.approx(0.25)
    assert _of_all("KLoM", both(hidden=True), both(), 100) is None
    assert error_of({"value": 5.0, "low": 4.0, "high": 4.0 + 3.92}) == pytest.approx(1.0)


def test_methods_that_need_a_history_run_in_groups_as_alone(tmp_path):
    """Each group's history is told by the maker; in float64 only rounding differs."""
    unrolled = [{"name": name} for name in ("single-gradient", "amnesiac")]
    forget = [{"name": "some", "kind": "random", "share": 0.2}]
    asked = {"name": "two", "problem": "tiny", "seeds": [0], "members": 3, "forget": forget}
    asked |= {"judged_rows": 20, "metrics": ["UA", "RA", "TA"], "method": unrolled}
    base, found = tiny64(forget=()), {}
    for group in (1, 3):
        out = tmp_path / str(group)
        runtime = Runtime(Store(out / "store"), jobs=1, group=group, progress=False)
        found[group] = run(parse(asked), base, out, runtime)["cells"]
    assert {"single-gradient", "amnesiac"} <= {cell["method"] for cell in found[1]}
    for one, three in zip(found[1], found[3], strict=True):
        assert one["method"] == three["method"]
        assert one["scores"] == three["scores"]
