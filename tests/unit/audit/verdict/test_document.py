import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.audit.evidence.folder import Evidence, read
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import margins
from expunge.audit.metrics import klom_table as klom_file
from expunge.audit.metrics.accuracy import accuracy
from expunge.audit.metrics.distance import distance, distance_null
from expunge.audit.metrics.klom import klom, p95
from expunge.audit.metrics.resample import jackknife, splits
from expunge.audit.verdict.document import declared_part, differences, document
from expunge.errors import BadInput
from tests.unit.audit.folders import declared, evidence, files, outputs, targets, write


@pytest.fixture(autouse=True)
def few_splits(monkeypatch):
    monkeypatch.setattr(klom_file, "SPLITS", 25)


def small(kind="classification", **given) -> Evidence:
    """Twelve models a side: distance only."""
    made = files(kind, **given)
    methods = {k.removeprefix("unlearned-"): v for k, v in made.items() if k.startswith("unl")}
    return Evidence(
        made["original"], made["oracle"], made["null"], methods, made["targets"], None, kind
    )


def large(unlearned: dict[str, int], oracle=60, null=60, original=60) -> Evidence:
    """Enough models for KLoM; methods are drawn like the oracles."""
    methods = {name: outputs(n, 10 + i) for i, (name, n) in enumerate(unlearned.items())}
    return Evidence(
        outputs(original, 2, 6.0),
        outputs(oracle, 3),
        outputs(null, 4) if null else None,
        methods,
        targets(),
        None,
        "classification",
    )


def side(file, group):
    return margins(file[group], targets()[group], "classification")


def test_klom_numbers_are_those_of_the_metrics():
    given = large({"dmm": 60})
    made = document(given, declared())
    entry, method = made["methods"]["dmm"], given.unlearned["dmm"]
    for group in GROUPS:
        u, o = side(method, group), side(given.oracle, group)
        cell = entry["klom"][group]
        assert cell["p95"] == pytest.approx(p95(klom(u, o)).item(), rel=1e-12)
        assert cell["mean"] == pytest.approx(klom(u, o).mean().item(), rel=1e-12)
        se = jackknife(lambda u, o: p95(klom(u, o)), u, o).item()
        assert cell["se"] == pytest.approx(se)
        assert cell["interval"] == pytest.approx([cell["p95"] - 2 * se, cell["p95"] + 2 * se])
    three = [entry["klom"][group]["p95"] for group in GROUPS]
    assert entry["klom"]["average_p95"] == pytest.approx(sum(three) / 3)
    paper = [
        p95(klom(side(method, g), side(given.oracle, g), convention="paper")).item() for g in GROUPS
    ]
    assert entry["klom"]["paper_average_p95"] == pytest.approx(sum(paper) / 3)
    # the error of the average is that of one statistic, the same models left out of every group
    together = [torch.cat([side(f, g) for g in GROUPS], 1) for f in (method, given.oracle)]
    error = jackknife(
        lambda u, o: sum((p95(k) for k in klom(u, o).split([8, 12, 10])), torch.zeros(())) / 3,
        *together,
    ).item()
    low, high = entry["klom"]["average_interval"]
    assert (high - low) / 4 == pytest.approx(error)
    assert entry["klom"]["average_se"] == pytest.approx(error)
    assert made["original"]["klom"]["forget"]["p95"] > 5


def test_klom_null_uses_as_many_models_as_the_values():
    given = large({"dmm": 60}, oracle=60, null=60)
    made = document(given, declared())
    assert made["groups"]["models_used"] == 60
    assert given.null is not None
    for group in GROUPS:
        pool = torch.cat([side(given.oracle, group), side(given.null, group)])
        draws = [p95(klom(a, b)).item() for a, b in splits(pool, 60, 25, 0)]
        cell = made["null"]["klom"][group]
        assert cell["p95"] == pytest.approx(np.median(draws))
        assert cell["interval"] == pytest.approx(np.percentile(draws, [2.5, 97.5]))


def test_without_a_second_group_half_of_the_oracles_are_used():
    given = large({"dmm": 120}, oracle=110, null=0, original=120)
    made = document(given, declared())
    assert made["groups"]["models_used"] == 55
    u, o = (side(f, "test")[:55] for f in (given.unlearned["dmm"], given.oracle))
    assert made["methods"]["dmm"]["klom"]["test"]["p95"] == pytest.approx(p95(klom(u, o)).item())


def test_a_method_with_fewer_models_has_its_own_null():
    names = {"dmm": 60, "less": 50, "few": 3}
    made = document(large(names), declared(names))
    methods = made["methods"]
    assert [methods[n]["models_used"] for n in names] == [60, 50, None]
    assert "null" not in methods["dmm"]
    assert "null" not in methods["few"]
    own = methods["less"]["null"]
    assert own.keys() == made["null"].keys() - {"metrics"}
    assert own["distance"] == made["null"]["distance"]
    assert own["klom"]["test"]["p95"] > made["null"]["klom"]["test"]["p95"]
    assert f"{own['klom']['forget']['p95']:.2f}" in " ".join(methods["less"]["verdict_reasons"])
    assert methods["few"]["klom"] is None
    assert methods["few"]["verdict_metric"] == "distance"
    assert methods["less"]["verdict_metric"] == methods["dmm"]["verdict_metric"] == "klom"
    assert made["not_measured"]["klom"] == (
        "it needs at least 50 models on each side and 100 oracles in all; there are 3, 60 oracles "
        "and 60 more for the null (few)"
    )


def test_klom_without_the_originals_klom_leaves_the_verdict_to_distance():
    made = document(large({"dmm": 60}, original=1), declared())
    entry = made["methods"]["dmm"]
    assert entry["klom"] is not None
    assert made["original"]["klom"] is None
    assert entry["verdict_metric"] == "distance"
    assert "KLoM was not measured for the original" in entry["verdict_reasons"][-1]
    assert "accuracy.sd" in made["not_measured"]
    assert made["original"]["accuracy"]["sd"]["forget"] is None


def test_distance_and_accuracy_numbers_are_those_of_the_metrics():
    given = small()
    made = document(given, declared())
    entry, method = made["methods"]["dmm"], given.unlearned["dmm"]
    assert entry["klom"] is None
    assert "at least 50 models" in made["not_measured"]["klom"]
    for group in GROUPS:
        u, o = side(method, group), side(given.oracle, group)
        cell, null = entry["distance"][group], made["null"]["distance"][group]
        assert cell["rms"] == pytest.approx(distance(u, o).mean().item())
        assert cell["se"] > 0
        assert null["rms"] == pytest.approx(np.median(distance_null(o)))
        truth = targets()[group]
        assert entry["accuracy"][group] == pytest.approx(
            accuracy(method[group], truth).mean().item()
        )
        assert entry["accuracy"]["sd"][group] == pytest.approx(
            accuracy(method[group], truth).std().item()
        )
        assert given.null is not None
        both = torch.cat([given.oracle[group], given.null[group]])
        assert made["null"]["accuracy"][group] == pytest.approx(accuracy(both, truth).mean().item())
    assert made["original"]["accuracy"]["forget"] > 0.9


def test_verdicts_of_likely_and_unlikely_models():
    given = small(methods=("fresh", "nothing"))
    unlearned = given.unlearned | {"nothing": outputs(12, 7, 6.0)}
    made = document(replace(given, unlearned=unlearned), declared(("fresh", "nothing")))
    assert made["methods"]["fresh"]["verdict"] == "supported"
    assert made["methods"]["nothing"]["verdict"] == "not supported"
    assert made["methods"]["nothing"]["overshoot"] is False


def test_over_forgetting_is_named_and_not_supported():
    given = small()
    pushed = replace(given, unlearned={"dmm": outputs(12, 7, -6.0)})
    entry = document(pushed, declared())["methods"]["dmm"]
    assert entry["overshoot"] is True
    assert entry["verdict"] == "not supported"
    assert "over-forgetting" in entry["verdict_reasons"][-1]


def test_a_single_unlearned_model_is_judged_by_distance():
    given = small()
    one = {g: t[:1] for g, t in given.unlearned["dmm"].items()}
    made = document(replace(given, unlearned={"dmm": one}), declared())
    entry = made["methods"]["dmm"]
    assert entry["verdict_metric"] == "distance"
    u, o = side(one, "forget"), side(given.oracle, "forget")
    assert entry["distance"]["forget"]["rms"] == pytest.approx(distance(u, o).item())


def test_too_few_oracles_measure_nothing_and_conclude_nothing():
    given = small()
    for count in (9, 1):
        few = replace(given, oracle={g: t[:count] for g, t in given.oracle.items()}, null=None)
        made = document(few, declared())
        entry = made["methods"]["dmm"]
        assert entry["klom"] is entry["distance"] is entry["verdict_metric"] is None
        assert made["null"]["klom"] is made["null"]["distance"] is None
        assert entry["verdict"] == "inconclusive"
        assert "at least 10 oracles" in made["not_measured"]["distance"]
    assert entry["overshoot"] is None
    assert "overshoot" in made["not_measured"]


def test_a_method_may_bear_any_name():
    given = small(methods=("original", "oracle", "null"))
    more = given.unlearned | {"null": outputs(4, 9)}
    made = document(replace(given, unlearned=more), declared(given.unlearned))
    assert made["groups"]["models"] == {
        "original": 12,
        "oracle": 12,
        "null": 12,
        "unlearned": {"original": 12, "oracle": 12, "null": 4},
    }


def test_margins_alone_leave_accuracy_unmeasured():
    given = small()
    plain = [
        {g: margins(f[g], given.targets[g], "classification") for g in GROUPS}
        for f in (given.original, given.oracle, given.unlearned["dmm"])
    ]
    bare = Evidence(
        plain[0], plain[1], None, {"dmm": plain[2]}, given.targets, None, "classification"
    )
    made = document(bare, declared())
    for entry in (made["null"], made["original"], made["methods"]["dmm"]):
        assert entry["accuracy"] is None
    assert "holds margins" in made["not_measured"]["accuracy"]
    full = document(given, declared())
    assert made["methods"]["dmm"]["distance"] == full["methods"]["dmm"]["distance"]


def test_a_regression_reports_error_in_place_of_accuracy():
    given = small("regression")
    made = document(given, declared(kind="regression"))
    entry = made["methods"]["dmm"]
    assert "accuracy" not in entry
    errors = (given.unlearned["dmm"]["test"][..., 0] - given.targets["test"]).abs().double()
    assert entry["error"]["test"] == pytest.approx(errors.mean().item())
    assert entry["error"]["sd"]["test"] == pytest.approx(errors.mean(-1).std().item(), rel=1e-5)
    assert {"klom", "MIA"} <= made["not_measured"].keys()
    assert not {"accuracy", "error"} & made["not_measured"].keys()


def test_unchanged_weights_are_refused_or_explained():
    given = small()
    assert document(given, declared(changed=0))["methods"]["dmm"]["verdict"] == "refused"
    why = declared(changed=0.0, reason="only outputs are shifted")
    assert document(given, why)["methods"]["dmm"]["verdict"] == "supported"
    assert document(given, declared(changed=None))["methods"]["dmm"]["verdict"] == "supported"


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_written_document_is_recomputed_without_a_difference(tmp_path, kind):
    stated = declared(kind=kind, settings={"layers": (1, 2)})
    made = document(evidence(tmp_path, kind), stated)
    old = json.loads(json.dumps(made, allow_nan=False))
    assert old == made
    again = document(evidence(tmp_path, kind), declared_part(old))
    assert differences(old, again, tolerance=0) == []
    old["methods"]["dmm"]["distance"]["forget"]["rms"] += 0.1
    old["methods"]["dmm"]["verdict"] = "refused"
    found = differences(old, again)
    assert [line.split(":")[0] for line in found] == [
        "methods.dmm.distance.forget.rms",
        "methods.dmm.verdict",
    ]


def test_changed_evidence_shows_in_the_document(tmp_path):
    old = document(evidence(tmp_path), declared())
    made = files()
    made["oracle"]["retain"][0, 0, 0] += 1
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", made)
    given = read(tmp_path / "other", "classification", verify_manifest=True)
    found = differences(old, document(given, declared_part(old)))
    assert any(line.startswith("methods.dmm.distance.retain.rms: file says") for line in found)


def test_neither_evidence_nor_declaration_is_changed():
    given, stated = small(), declared()
    before = json.dumps(stated), {g: t.clone() for g, t in given.oracle.items()}
    state = torch.get_rng_state()
    document(given, stated)
    assert json.dumps(stated) == before[0]
    assert all(torch.equal(given.oracle[g], before[1][g]) for g in GROUPS)
    assert torch.equal(torch.get_rng_state(), state)


def lacking(part, key):
    stated = declared()
    del {"": stated, "problem": stated["problem"], "method": stated["methods"]["dmm"]}[part][key]
    return stated


@pytest.mark.parametrize(
    ("stated", "match"),
    [
        (lacking("", "run"), "declared lacks run"),
        (lacking("problem", "duplicates"), "declared problem lacks duplicates"),
        (lacking("method", "claim"), "declared method 'dmm' lacks claim"),
        (declared(kind="regression"), "the problem is declared as 'regression'"),
        (declared(("dmn",)), r"method 'dmm' is only among the evidence \(did you mean 'dmn'\?\)"),
        (declared(("dmm", "x")), "method 'x' is only declared"),
        (declared(changed=-1), "declares changed=-1"),
        (declared(changed=True), "declares changed=True"),
        (declared(reason=None), "reason=None"),
        (declared(changed=math.nan), "cannot be written as JSON"),
        (declared(settings={"lr": torch.tensor(1)}), "cannot be written as JSON"),
    ],
)
def test_declarations_that_do_not_fit_are_refused(stated, match):
    with pytest.raises(BadInput, match=match):
        document(small(), stated)


def test_the_rows_judged_on_are_test_or_validation():
    stated = declared()
    stated["problem"]["judged_on"] = "train"
    with pytest.raises(BadInput, match="judged_on is 'train'"):
        document(small(), stated)


def test_only_documents_of_this_version_are_taken_apart():
    made = document(small(), declared())
    assert declared_part(made) == json.loads(json.dumps(declared()))
    with pytest.raises(BadInput, match="schema is 'expunge.audit/0'"):
        declared_part(made | {"schema": "expunge.audit/0"})
    with pytest.raises(BadInput, match="lacks a part"):
        declared_part({})
    with pytest.raises(BadInput, match="lacks a part"):
        declared_part(made | {"methods": {"dmm": {}}})
    with pytest.raises(BadInput, match="lacks a part"):
        declared_part(made | {"methods": []})
