"""Forget sets by the name of their kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.contract.problems import generator, ridge, tiny
from expunge.data import DatasetData
from expunge.errors import BadInput
from expunge.forget_sets import (
    FORGET_SETS,
    attribution_matrix,
    build,
    most_memorised,
    nearest,
    principal_end,
    self_influence,
)

ALL = torch.arange(60)
SETTINGS = {
    "random": {"count": 7},
    "class": {"label": 1},
    "principal": {"count": 7, "label": 1, "end": "bottom"},
    "nearest": {"row": 12, "count": 7},
    "memorised": {"count": 7},
    "file": {"path": "rows.npy"},
}


@pytest.fixture(autouse=True)
def rows_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.arange(13, -1, -2))  # odd: half of the tests forget the even ones


@pytest.fixture(scope="module")
def margins():
    """Invented: each row of 60 is in about half of 50 models."""
    memberships = torch.rand(50, 60, generator=generator(6)) < 0.5
    return memberships, torch.randn(50, 60, generator=generator(7))


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_kind_gives_sorted_rows_that_can_be_forgotten(kind, problem, margins):
    rows = build(kind, problem, seed=0, margins_of_halves=margins, **SETTINGS[kind])
    assert rows.dtype == torch.int64
    assert torch.equal(problem.forgetting(rows).forget, rows)
    again = build(kind, problem, seed=0, margins_of_halves=margins, **SETTINGS[kind])
    assert torch.equal(rows, again)
    if kind != "class":
        assert len(rows) == 7


def test_the_table_of_settings_is_whole():
    assert list(FORGET_SETS) == list(SETTINGS)


def test_only_the_seed_decides_what_is_random(problem, margins):
    for kind, settings in SETTINGS.items():
        sets = [build(kind, problem, seed=s, margins_of_halves=margins, **settings) for s in (0, 1)]
        assert torch.equal(*sets) == (kind != "random")


def test_what_each_kind_is(problem, margins):
    x, y = problem.train.inputs, problem.train.targets
    ones = (y == 1).nonzero().squeeze(-1)
    score = self_influence(*margins)
    matrix = attribution_matrix(*margins)

    def made(kind, **settings):
        return build(kind, problem, seed=0, margins_of_halves=margins, **settings).tolist()

    assert made("class", label=1) == ones.tolist()
    assert len(made("random", share=0.25)) == 15
    assert set(made("random", share=0.5, label=1)) < set(ones.tolist())
    assert made("nearest", row=12, count=5) == nearest(x, 12, 5, ALL).tolist()
    assert made("file", path="rows.npy") == [1, 3, 5, 7, 9, 11, 13]
    assert made("memorised", count=5) == most_memorised(score, 5, ALL).tolist()
    assert made("memorised", count=5, label=1) == most_memorised(score, 5, ones).tolist()
    for how in ({"end": "bottom"}, {"end": "both", "component": 2}, {}):
        expected = principal_end(x, ones, 6, **how).tolist()
        assert made("principal", count=6, label=1, **how) == expected
        expected = principal_end(matrix, ALL, 6, **how).tolist()
        assert made("principal", count=6, of="attribution", **how) == expected


def test_rows_already_forgotten_are_in_no_set(problem, margins):
    gone = torch.arange(0, 60, 2)
    later = problem.without(gone)
    memberships = margins[0].clone()
    memberships[:, gone] = False  # no half holds them
    for kind, settings in SETTINGS.items():
        settings = {**settings, **({"row": 13} if kind == "nearest" else {})}
        settings = {**settings, **({"count": 4} if kind == "principal" else {})}
        rows = build(kind, later, seed=0, margins_of_halves=(memberships, margins[1]), **settings)
        assert not torch.isin(rows, gone).any()
    of_rest = {"of": "attribution", "count": 9, "margins_of_halves": (memberships, margins[1])}
    assert not torch.isin(build("principal", later, seed=0, **of_rest), gone).any()
    with pytest.raises(BadInput, match="row 12 is not among the 30 candidates"):
        build("nearest", later, seed=0, row=12, count=3)


def items(problem):
    x, y = problem.train.inputs, problem.train.targets
    return DatasetData([(x[i], y[i]) for i in range(60)])


def test_any_data_has_classes_but_features_are_to_be_passed(problem):
    other = replace(problem, train=items(problem))
    x = problem.train.inputs
    for kind in ("class", "random"):
        expected = build(kind, problem, seed=0, **SETTINGS[kind])
        assert torch.equal(build(kind, other, seed=0, **SETTINGS[kind]), expected)
    for kind in ("principal", "nearest"):
        expected = build(kind, problem, seed=0, **SETTINGS[kind])
        assert torch.equal(build(kind, other, seed=0, features=x, **SETTINGS[kind]), expected)
        with pytest.raises(BadInput, match="no features, and inputs of DatasetData .*features="):
            build(kind, other, seed=0, **SETTINGS[kind])


def test_features_that_are_passed_come_before_the_inputs(problem):
    features = torch.arange(60.0)[:, None].square()
    found = build("nearest", problem, seed=0, features=features, row=12, count=5)
    assert found.tolist() == [10, 11, 12, 13, 14]
    with pytest.raises(BadInput, match="features of 59 rows. Expected: those of all 60"):
        build("nearest", problem, seed=0, features=features[1:], row=12, count=5)


def test_a_tree_of_inputs_is_no_table_of_features(problem):
    train = problem.train
    tree = replace(problem, train=type(train)({"a": train.inputs}, train.targets))
    with pytest.raises(BadInput, match="inputs of TensorData that are no single tensor"):
        build("nearest", tree, seed=0, row=12, count=5)


def test_kinds_by_influence_need_margins_of_half_data_models(problem, margins):
    with pytest.raises(BadInput, match=r"needed for the most memorised.*margins_of_halves="):
        build("memorised", problem, seed=0, count=3)
    with pytest.raises(BadInput, match="needed for principal components of attribution"):
        build("principal", problem, seed=0, count=3, of="attribution")
    fewer = margins[0], margins[1][:, :59]
    with pytest.raises(BadInput, match=r"margins of \(50, 59\). Expected: \(models, 60\) each"):
        build("memorised", problem, seed=0, count=3, margins_of_halves=fewer)


def test_unknown_kinds_and_settings_and_the_nearest(problem):
    with pytest.raises(BadInput, match=r"forget set 'rndom' \(did you mean 'random'"):
        build("rndom", problem, seed=0, count=3)
    with pytest.raises(BadInput, match=r"no setting 'cout' \(did you mean 'count'"):
        build("random", problem, seed=0, cout=3)
    with pytest.raises(BadInput, match="no setting 'source'"):
        build("random", problem, seed=0, source=3)
    with pytest.raises(BadInput, match=r"of = 'input' \(did you mean 'inputs'"):
        build("principal", problem, seed=0, count=3, of="input")


def test_settings_that_are_missing(problem):
    for kind, setting in (("class", "label"), ("principal", "count"), ("nearest", "row")):
        settings = {k: v for k, v in SETTINGS[kind].items() if k != setting}
        with pytest.raises(BadInput, match=f"{kind} without {setting}.*Fix: add {setting}="):
            build(kind, problem, seed=0, **settings)
    for both in ({}, {"count": 3, "share": 0.1}):
        with pytest.raises(BadInput, match="count=.* and share=.* Expected: one of the two"):
            build("random", problem, seed=0, **both)


@pytest.mark.parametrize(
    ("kind", "changed", "match"),
    [
        ("random", {"count": "few"}, "count = 'few'. Expected: count a whole number, or none"),
        ("random", {"count": 7.5}, r"count = 7\.5. Expected: count a whole number"),
        ("random", {"count": True}, "count = True. Expected: count a whole number"),
        ("random", {"count": None, "share": "half"}, "share = 'half'. Expected: share finite"),
        ("nearest", {"row": None}, "row = None. Expected: row a whole number"),
        ("principal", {"end": 1}, "end = 1. Expected: one of top, bottom, both"),
    ],
)
def test_settings_of_another_type(kind, changed, match, problem):
    with pytest.raises(BadInput, match=match):
        build(kind, problem, seed=0, **{**SETTINGS[kind], **changed})


def test_numbers_of_numpy_are_numbers(problem):
    expected = build("nearest", problem, seed=0, row=12, count=7)
    found = build("nearest", problem, seed=0, row=np.int64(12), count=np.int32(7))
    assert torch.equal(found, expected)


def test_a_label_needs_a_classification():
    with pytest.raises(BadInput, match="a label for a task of regression"):
        build("class", ridge(), seed=0, label=1)
    with pytest.raises(BadInput, match="no row of class 7. Expected: one of the classes 0, 1, 2"):
        build("class", tiny(), seed=0, label=7)
