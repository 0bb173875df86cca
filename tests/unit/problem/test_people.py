"""People: all rows of one id are one person."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge.contract.problems import ROWS, tiny
from expunge.errors import BadInput
from expunge.problem import people as module
from expunge.problem.people import LONGEST, People

IDS = [f"p{row % 20}" for row in range(ROWS)]  # three rows each: p7 has 7, 27 and 47


@pytest.fixture
def asked():
    return replace(tiny(forget=()), ids=IDS)


# ---- the rows of a person


def test_all_rows_of_an_id_are_one_person(asked):
    assert asked.ids.total == 20
    assert asked.rows_of(["p7", "p0"]).tolist() == [7, 27, 47, 0, 20, 40]
    found = asked.forgetting(ids=["p7", "p0"])
    assert found.forget.tolist() == [0, 7, 20, 27, 40, 47]
    assert found.forget.dtype == torch.int64
    assert found.people() == (6, 2, 0)


def test_rows_of_a_person_may_stay_behind_and_are_counted(asked):
    assert asked.forgetting([7, 27, 0]).people() == (3, 2, 2)
    assert asked.forgetting([7, 27, 47, 0]).people() == (4, 2, 1)
    gone = asked.without(torch.tensor([7]))
    assert gone.forgetting([27, 47]).people() == (2, 1, 0)  # a row that is gone stays nowhere
    assert asked.forgetting([]).people() == (0, 0, 0)
    assert tiny().people() is None


def test_of_a_person_only_the_rows_still_present_are_forgotten(asked):
    left = asked.without(torch.tensor([7, 47]))
    assert left.forgetting(ids=["p7"]).forget.tolist() == [27]
    assert left.rows_of(["p7"]).tolist() == [7, 27, 47]


def test_no_ids_are_a_question_too(asked):
    assert asked.forgetting(ids=[]).forget.tolist() == []


COLUMNS = {
    "tuple": (tuple(IDS), "p7"),
    "numpy text": (np.array(IDS), "p7"),
    "numpy objects": (np.array(IDS, dtype=object), "p7"),
    "integers": ([row % 20 for row in range(ROWS)], 7),
    "range": (range(ROWS), "7"),
    "small integers": (np.arange(ROWS, dtype=np.int16) % 20, "7"),
    "tensor": (torch.arange(ROWS) % 20, 7),
    "list of tensors": (list(torch.arange(ROWS) % 20), 7),
    "mixed": ([row % 20 if row < 30 else str(row % 20) for row in range(ROWS)], "7"),
    "huge": ([2**70 + row % 20 for row in range(ROWS)], 2**70 + 7),
    "negative": ([row % 20 - 10 for row in range(ROWS)], "-3"),
    "unsigned": (np.arange(ROWS, dtype=np.uint64) % 20 + 2**63, str(2**63 + 7)),
    "umlauts": ([f"Jürgen {row % 20} 雪" for row in range(ROWS)], "Jürgen 7 雪"),
}


@pytest.mark.parametrize(("column", "one"), COLUMNS.values(), ids=COLUMNS)
def test_ids_are_any_column_and_compared_as_text(column, one):
    problem = replace(tiny(forget=()), ids=column)
    column = column.tolist() if isinstance(column, torch.Tensor) else column
    column = [one.item() if isinstance(one, torch.Tensor) else one for one in column]
    wanted = [row for row in range(ROWS) if str(column[row]) == str(one)]
    for given in (one, str(one)):
        assert problem.forgetting(ids=[given]).forget.tolist() == wanted
    assert problem.ids.text(wanted[0]) == str(one)
    assert [str(known) for known in problem.ids] == [str(known) for known in list(column)]


def test_a_number_written_otherwise_is_another_id():
    problem = replace(tiny(forget=()), ids=range(ROWS))
    for other in ("03", "3.0", "+3", " 3", "٣", "9" * 30, "-1"):
        with pytest.raises(BadInput, match="is unknown"):
            problem.rows_of([other])


def test_ids_are_numbers_or_text_again(asked):
    assert (asked.ids[3], asked.ids[-1], asked.ids[:2]) == ("p3", "p19", ["p0", "p1"])
    assert asked.ids == IDS
    assert asked.ids == People(IDS)
    assert asked.ids != IDS[1:]
    assert repr(asked.ids) == "People(60 rows)"
    numbers = People(torch.tensor([5, 4]))
    assert (numbers[0], list(numbers), max(numbers)) == (5, [5, 4], 5)


# ---- refusals


def test_ids_are_one_a_row():
    for ids in (IDS[:-1], range(ROWS + 1)):
        with pytest.raises(BadInput, match=f"{len(ids)} ids for 60 rows"):
            replace(tiny(), ids=ids)


NOT_IDS = {
    "None": ([*IDS[:4], None, *IDS[5:]], r"row 4 has no id \(None\)"),
    "NaN": ([*IDS[:4], float("nan"), *IDS[5:]], r"row 4 has no id \(nan\)"),
    "NaN among numbers": (np.array([1.0, np.nan]), "row 1 has no id"),
    "not a time": (np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"), "row 1 has no id"),
    "empty": (["a", ""], r"row 1 has no id \(''\)"),
    "blank": (["a", " \t"], "row 1 has no id"),
    "NUL": (["a", "b\0"], r"the id at row 1 is 'b\\x00'"),
    "no text": (["a", "\ud800"], "the id at row 1 is .*UTF-8"),
    "long": (["a", "x" * (LONGEST + 1)], f"at row 1 .*513 characters.*at most {LONGEST} bytes"),
    "one text": ("p1", "ids of type str.*a single id goes into a list"),
    "set": ({"a", "b"}, "ids of type set"),
    "two axes": (np.ones((3, 2), dtype=int), r"ids of shape \(3, 2\)"),
}


@pytest.mark.parametrize(("ids", "match"), NOT_IDS.values(), ids=NOT_IDS)
def test_what_is_no_id_is_refused_with_its_row(ids, match):
    with pytest.raises(BadInput, match=match):
        People(ids)


def test_a_value_that_cannot_be_compared_is_missing():
    """As NA of pandas: its comparisons have no truth."""

    class Unknown:
        def __ne__(self, other):
            return self

        def __eq__(self, other):
            return self

        def __bool__(self):
            raise TypeError("no truth")

        __hash__ = None

    with pytest.raises(BadInput, match="row 1 has no id"):
        People(["a", Unknown()])


def test_all_unknown_ids_are_counted_and_five_named(asked):
    with pytest.raises(BadInput, match=r"^record id 'q1' is unknown \(1 of 2\).*such as 'p0'"):
        asked.forgetting(ids=["p1", "q1"])
    many = [f"q{k}" for k in range(8)]
    wanted = r"record ids 'q0', 'q1', 'q2', 'q3', 'q4' and 3 more are unknown \(8 of 9\)"
    for ask in (asked.rows_of, lambda ids: asked.forgetting(ids=ids)):
        with pytest.raises(BadInput, match=wanted):
            ask([*many, "p1"])
    with pytest.raises(BadInput, match="record ids 'q0', 'q1' are unknown"):
        asked.rows_of(many[:2])


def test_an_id_given_twice_is_named(asked):
    with pytest.raises(BadInput, match=r"record id 'p3' is given more than once \(1 such\)"):
        asked.forgetting(ids=["p3", "p1", "p3"])
    numbers = replace(asked, ids=range(ROWS))
    with pytest.raises(BadInput, match="record ids '9', '3' are given more than once"):
        numbers.forgetting(ids=[9, 3, "9", "3", 1])


def test_persons_who_are_gone_are_named(asked):
    later = asked.without(asked.rows_of(["p3", "p4"])).without(torch.tensor([5]))
    with pytest.raises(BadInput, match=r"record id 'p3' was already forgotten \(1 of 3\).*card"):
        later.forgetting(ids=["p5", "p3", "p6"])
    with pytest.raises(BadInput, match=r"record ids 'p4', 'p3' were already forgotten \(2 of 2\)"):
        later.forgetting(ids=["p4", "p3"])


def test_rows_or_ids_not_both(asked):
    for given, match in (({}, "neither rows nor ids"), ({"rows": [1], "ids": ["p1"]}, "rows and")):
        with pytest.raises(BadInput, match=match):
            asked.forgetting(**given)
    with pytest.raises(BadInput, match=r"1 record ids, but the problem has none.*ids="):
        tiny().forgetting(ids=["p1"])
    with pytest.raises(BadInput, match="place 1 has no id"):
        asked.forgetting(ids=["p1", None])
    with pytest.raises(BadInput, match="all 60 rows are to be forgotten"):
        asked.forgetting(ids=sorted(set(IDS)))


def test_refusals_of_rows_name_the_id(asked):
    with pytest.raises(BadInput, match=r"row 7 \(id 'p7'\) is given more than once"):
        asked.forgetting([7, 7])
    with pytest.raises(BadInput, match=r"row 27 \(id 'p7'\) was already forgotten"):
        asked.without(torch.tensor([27])).forgetting([27])
    assert tiny().row_name(torch.tensor(3)) == "row 3"


# ---- checked once


def test_a_problem_derived_from_another_shares_its_ids(asked, monkeypatch):
    """Nothing is checked or sorted again, which a million ids would make slow."""
    made = []
    for name in ("_column", "_indexed"):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, real=real, name=name: made.append(name) or real(*given)
        )
    problem = replace(asked, ids=People(IDS))
    assert made == ["_column"]
    later = replace(problem.forgetting([7]).without(torch.tensor([7])), name="other")
    assert later.forgetting([8]).ids is problem.ids
    assert made == ["_column"]  # rows need no index
    later.forgetting(ids=["p8"]).people()
    problem.forgetting(ids=["p7", "p1"]).people()
    assert made.count("_indexed") == 1
    sizes = [name for name in made if name == "_column"]
    assert len(sizes) == 3  # the ids of the problem, and two short lists that were asked for


def test_ids_travel_to_other_processes_as_one_array(asked):
    assert asked.rows_of(["p7"]).tolist() == [7, 27, 47]  # with an index, which stays here
    people = People([f"person-{row}" for row in range(10_000)])
    assert people.total == 10_000
    parcel = pickle.dumps(people)
    assert len(parcel) < 10_000 * 12 + 1000
    again = pickle.loads(parcel)
    assert again == people
    assert again.persons_of(["person-3"]).tolist() == people.persons_of(["person-3"]).tolist()


def test_ids_cannot_be_changed_afterwards():
    numbers = np.arange(ROWS)
    problem = replace(tiny(), ids=numbers)
    numbers[3] = 99
    assert problem.ids[3] == 3
    with pytest.raises(ValueError, match="read-only"):
        problem.ids.values[0] = 1
