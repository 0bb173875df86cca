"""Problem: rows present, rows to forget, and every refusal."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.contract.problems import FORGET, ROWS, tiny
from expunge.errors import BadInput

MASK = torch.zeros(ROWS, dtype=torch.bool)
MASK[[5, 2]] = True
GIVEN = {
    "list": [5, 2],
    "tuple": (2, 5),
    "range": range(2, 8, 3),
    "numpy": np.array([5, 2]),
    "small integers": torch.tensor([5, 2], dtype=torch.int16),
    "mask": MASK,
    "mask as a list": MASK.tolist(),
    "mask of numpy": MASK.numpy(),
}


@pytest.mark.parametrize("rows", GIVEN.values(), ids=GIVEN)
def test_rows_are_given_in_many_ways(rows, problem):
    asked = problem.forgetting(rows)
    assert asked.forget.tolist() == [2, 5]
    assert asked.forget.dtype == torch.int64
    assert problem.forget.tolist() == list(FORGET)  # the first question is as it was


def test_no_rows_is_a_question_too(problem):
    for nothing in ([], torch.zeros(ROWS, dtype=torch.bool), torch.empty(0, dtype=torch.int64)):
        asked = problem.forgetting(nothing)
        assert asked.forget.tolist() == []
        assert asked.forget.dtype == torch.int64
        assert asked.retain.tolist() == [*range(ROWS)]


BAD = {
    "too high": ([3, ROWS, ROWS + 1], r"row 60 is out of range \(2 such\).*from 0 to 59"),
    "negative": ([3, -1], r"row -1 is out of range \(1 such\)"),
    "twice": ([3, 8, 3], "row 3 is given more than once"),
    "fractions": ([3.5], "rows of torch.float32"),
    "whole floats": ([3.0], "rows of torch.float32"),
    "two axes": ([[3, 4]], r"shape \(1, 2\)"),
    "one number": (3, r"shape \(\)"),
    "short mask": ([True, False], r"a bool mask of shape \(2,\).*shape \(60,\)"),
    "mask of two axes": (MASK[None], r"a bool mask of shape \(1, 60\)"),
    "all": (range(ROWS), "all 60 rows are to be forgotten"),
    "all by mask": (~torch.zeros(ROWS, dtype=torch.bool), "all 60 rows"),
    "words": (["3", "7"], "rows"),
    "nothing at all": (None, "rows"),
}


@pytest.mark.parametrize(("rows", "match"), BAD.values(), ids=BAD)
def test_rows_that_cannot_be_forgotten_are_refused(rows, match, problem):
    with pytest.raises(BadInput, match=match):
        problem.forgetting(rows)


def test_rows_deleted_earlier_are_gone(problem):
    later = problem.forgetting([]).without(torch.tensor([0, 9]))
    assert later.present_rows.tolist() == sorted({*range(ROWS)} - {0, 9})
    asked = later.forgetting([1, 2])
    assert asked.retain.tolist() == sorted({*range(ROWS)} - {0, 9, 1, 2})
    with pytest.raises(BadInput, match=r"row 9 was already forgotten \(1 such\).*card"):
        later.forgetting([8, 9])
    with pytest.raises(BadInput, match="all 58 rows"):
        later.forgetting(later.present_rows)
    last = later.without(torch.tensor([1]))
    assert last.present_rows.tolist() == sorted({*range(ROWS)} - {0, 9, 1})


def test_rows_partition(problem):
    present, forget, retain = problem.present_rows, problem.forget, problem.retain
    assert torch.equal(torch.cat([forget, retain]).sort().values, present)
    assert problem.present is None
    assert problem.present_mask.all()


def test_test_judges_and_without_it_validation(problem):
    assert problem.judge is problem.test
    assert list(problem.splits) == ["train", "validation", "test"]
    without = replace(problem, test=None)
    assert without.judge is problem.validation
    assert list(without.splits) == ["train", "validation"]


@pytest.mark.parametrize(
    "present",
    [
        torch.ones(ROWS),
        torch.ones(3, dtype=torch.bool),
        torch.arange(5),
        torch.ones(ROWS, 1, dtype=torch.bool),
    ],
)
def test_present_is_a_mask(present, problem):
    with pytest.raises(BadInput, match=re.escape(f"a bool mask of shape ({ROWS},)")):
        replace(problem, present=present)


# ---- record ids; more of them in test_people.py


def test_ids_stand_for_rows():
    problem = replace(tiny(), ids=[f"p{k}" for k in range(ROWS)])
    assert problem.rows_of(["p7", "p0"]).tolist() == [7, 0]
    assert problem.forgetting(problem.rows_of(["p7", "p0"])).forget.tolist() == [0, 7]
    numbered = replace(tiny(), ids=[1000 + k for k in range(ROWS)])
    assert numbered.rows_of(["1003", 1004]).tolist() == [3, 4]  # as a CSV file has them


def test_rows_may_be_named_without_being_forgotten(problem):
    """All of them, too; what cannot be there is refused as for forgetting."""
    n = len(problem.train)
    assert problem.named([5, 3]).tolist() == [3, 5]
    assert torch.equal(problem.named(torch.arange(n)), problem.present_rows)
    with pytest.raises(BadInput, match="is out of range"):
        problem.named([n])
    with pytest.raises(BadInput, match="was already forgotten"):
        problem.without(torch.tensor([3])).named([3])
