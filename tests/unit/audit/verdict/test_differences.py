import math

import pytest

from expunge.audit.verdict.differences import differences


def nested(value):
    return {"methods": {"dmm": {"klom": {"forget": {"p95": value}}}}}


def test_a_changed_number_is_named_by_its_path():
    assert differences(nested(1.2), nested(1.3)) == [
        "methods.dmm.klom.forget.p95: file says 1.2, evidence gives 1.3"
    ]


@pytest.mark.parametrize(
    ("old", "new"), [(1.0, 1.0 + 1e-10), (1, 1.0), (1e-17, 0.0), (1e9, 1e9 + 0.5), ("a", "a")]
)
def test_rounding_is_no_difference(old, new):
    assert differences(nested(old), nested(new)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [(1.0, 1.0 + 1e-8), (1e-5, 1.001e-5), (True, 1), (None, 0.0), (math.nan, 1.0), ("1", 1)],
)
def test_anything_else_is(old, new):
    assert len(differences(nested(old), nested(new))) == 1
    assert len(differences(nested(new), nested(old))) == 1


def test_the_tolerance_is_relative():
    assert differences({"a": 100.0}, {"a": 100.9}, tolerance=0.01) == []
    assert differences({"a": 1.0}, {"a": 1.9}, tolerance=0.01) != []


def test_missing_and_added_parts_and_lists():
    assert differences({"a": None}, {}) == ["a: file says null, evidence gives nothing"]
    assert differences({}, {"a": [1]}) == ["a: file says nothing, evidence gives [1]"]
    assert differences({"i": [1.0, 2.0]}, {"i": [1.0, 2.5]}) == [
        "i[1]: file says 2.0, evidence gives 2.5"
    ]
    assert differences({"i": [1]}, {"i": [1, 2]}) == ["i: file says [1], evidence gives [1, 2]"]
    assert differences([], {}) == ["the document: file says [], evidence gives {}"]
