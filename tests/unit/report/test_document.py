import pytest

from expunge.errors import BadInput
from expunge.report import document as doc

from .documents import cells, document, single, unmeasured


def test_another_schema_is_refused():
    made = document() | {"schema": "expunge.audit/2"}
    with pytest.raises(BadInput, match="expunge.audit/2.*with the version"):
        doc.check(made)


def test_an_audit_of_nothing_is_refused():
    with pytest.raises(BadInput, match="names no method"):
        doc.check(document(()))


def test_an_unknown_verdict_is_refused():
    made = document(("dmm",))
    made["methods"]["dmm"]["verdict"] = "proved"
    with pytest.raises(BadInput, match="verdict on 'dmm' is 'proved'"):
        doc.check(made)


def test_the_metric_is_the_one_that_verdicts_rest_on():
    assert doc.metric(document()) == "klom"
    assert doc.metric(single()) == "distance"
    assert doc.metric(unmeasured()) is None
    made = single()  # the originals may suffice for KLoM where the unlearned models do not
    made["null"]["klom"] = made["original"]["klom"] = cells((0.7, 0.7, 0.7))
    assert doc.metric(made) == "distance"


def test_methods_are_ordered_by_the_average_and_refused_ones_are_last():
    made = document()
    made["methods"]["retrain"] |= {"verdict": "refused"}
    order = doc.order(made)
    assert order[0] == "oracle-matching"
    assert order[-2:] == ["gradient-ascent", "retrain"]


@pytest.mark.parametrize("metric", ["klom", None])
def test_support_without_its_metric_is_not_shown(metric):
    made = unmeasured()["methods"]["fine-tune"] | {"verdict_metric": metric}
    assert made["verdict"] == "supported"
    assert doc.verdict(made) == "inconclusive"


def test_a_method_that_changed_nothing_without_a_reason_is_refused_whatever_was_written():
    entry = document(("dmm",))["methods"]["dmm"] | {"verdict": "supported", "changed": 0.0}
    assert doc.verdict(entry | {"reason": ""}) == "refused"
    assert doc.verdict(entry | {"reason": "outputs only"}) == "supported"


def test_a_bad_verdict_stays_bad_without_its_metric():
    entry = document(("dmm",))["methods"]["dmm"] | {"verdict": "not supported", "klom": None}
    assert doc.verdict(entry) == "not supported"


def test_outside_needs_the_whole_interval_above_the_limit():
    made = document(("dmm", "fine-tune"))
    assert doc.outside(made, made["methods"]["dmm"], "klom") == []  # 1.70 ± 0.12 against 1.65
    assert doc.outside(made, made["methods"]["fine-tune"], "klom") == ["forget", "test"]


def test_a_method_measured_with_fewer_models_has_its_own_limit():
    made = document(("fine-tune",))
    made["methods"]["fine-tune"]["null"] = {"klom": cells((7.5, 7.5, 7.5))}
    assert doc.outside(made, made["methods"]["fine-tune"], "klom") == []


def test_interval_comes_from_the_error_where_none_is_given():
    entry = {"distance": {"forget": {"rms": 2.0, "se": 0.25}}}
    assert doc.reading(entry, "distance", "forget") == doc.Reading(2.0, 1.5, 2.5)
    assert doc.reading(entry, "distance", "retain") is None
