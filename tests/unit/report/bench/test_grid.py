from dataclasses import replace

import pytest

from expunge.errors import BadInput
from expunge.report.bench.entry import sheet
from expunge.report.bench.grid import Cell, Grid, Line

from .grids import full_grid, grid, line


def test_the_smallest_absolute_gap_is_best_and_the_reference_is_no_contestant():
    made = grid(line("over", 7.0, 1.8), line("under", 3.5, -1.7), line("far", 0.0, -5.24))
    assert made.best("UA") == {"under"}


def test_the_smallest_average_gap_and_time_are_best():
    made = grid(line("slow", 1, 1, 0.4, 9.0), line("fast", 1, 1, 0.9, 0.1))
    assert made.best("Avg. Gap") == {"slow"}  # retrain has 0.0, and does not count
    assert made.best("RTE") == {"fast"}


def test_what_reads_the_same_is_equally_good():
    made = grid(
        line("a", 5.0, -0.241, 1, 0.13199), line("b", 5.5, 0.239, 1, 0.13201), line("c", 5, 1)
    )
    assert made.best("UA") == {"a", "b"}
    assert made.best("RTE") == {"a", "b"}
    assert made.best("Avg. Gap") == {"a", "b"}


def test_a_method_whose_gap_was_not_measured_cannot_win():
    made = grid(line("known", 9.0, 3.76), line("unknown", 5.24))
    assert made.best("UA") == {"known"}
    assert made.best("Avg. Gap") == frozenset()


def test_columns_can_be_named_in_which_the_smallest_value_is_best():
    lines = tuple(Line(m, {"KLoM": Cell(v)}) for m, v in (("retrain", 0.7), ("a", 3.0), ("b", 1.0)))
    assert Grid("t", ("KLoM",), lines).best("KLoM") == frozenset()
    assert Grid("t", ("KLoM",), lines, smallest=("KLoM",)).best("KLoM") == {"b"}


def test_numbers_have_two_decimals_and_times_three_digits():
    made = grid()
    assert [made.rounded("UA", x) for x in (5.2449, 100, -2.395, -0.001)] == [
        "5.24",
        "100.00",
        "-2.40",
        "0.00",
    ]
    times = {0.013249: "0.0132", 2.6612: "2.66", 43.29: "43.3", 1234.4: "1234", 9.999: "10.0"}
    assert {x: made.rounded("RTE", x) for x in times} == times
    assert made.rounded("RTE", 0.0123, like=43.29) == "0.0"
    assert made.rounded("RTE", 0) == "0"


def test_entries_show_mean_spread_and_signed_gap():
    rows = {method: entries for method, _, entries in sheet(grid()).rows}
    ua, average, minutes = rows["salun"]
    assert (ua.mean, ua.sd, ua.gap, ua.gap_se, ua.best) == ("2.85", "0.30", "-2.39", "0.20", False)
    assert (average.mean, average.sd, average.gap) == ("1.15", "", "")
    assert (minutes.mean, minutes.sd) == ("2.66", "0.01")
    assert rows["dmm"][0].gap == "+0.36"
    assert rows["retrain"][0].gap == "0.00"
    assert all(entry.best for entry in rows["dmm"])


def test_reasons_are_footnotes_that_share_a_letter():
    made = grid(
        line("a", None, None, None, 1, note="A remark."),
        line("b", 5.0, None, None, 1),
        line("c", 4.0, -1.24, None, 1),
        missing={
            "a/UA": "it diverged",
            "b/UA": "no seeds in common",
            **{f"{method}/Avg. Gap": "it diverged" for method in "abc"},
        },
    )
    found = sheet(made)
    marks = {method: (mark, [e.mark for e in entries]) for method, mark, entries in found.rows}
    assert marks["a"] == ("a", ["b", "b", ""])
    assert marks["b"] == ("", ["c", "b", ""])
    assert [e.gap for e in dict((m, e) for m, _, e in found.rows)["b"]][:1] == ["not measured"]
    assert found.footnotes == (
        ("a", "A remark."),
        ("b", "it diverged."),
        ("c", "no seeds in common."),
    )


def test_notes_say_what_the_numbers_are():
    notes = " ".join(sheet(grid()).notes)
    assert "Mean ± standard deviation over 3 models." in notes
    assert "the mean less that of retrain; nearer to 0 is better" in notes
    assert "the smallest gap of its column and the smallest Avg. Gap and RTE" in notes
    single = Grid("t", ("UA",), (Line("retrain", {"UA": Cell(5.0)}),))
    assert sheet(single).notes == ("Mean over 1 model.",)
    assert sheet(Grid("t", ("UA",), (Line("retrain", {}),))).notes == ()


def test_more_footnotes_than_letters():
    lines = tuple(Line(f"m{i}", {}, note=f"remark {i}") for i in range(30))
    made = Grid("t", ("UA",), (Line("retrain", {}), *lines))
    assert [mark for mark, _ in sheet(made).footnotes][24:28] == ["y", "z", "aa", "ab"]


def test_nineteen_methods_fit():
    found = sheet(full_grid())
    assert len(found.rows) == 19
    assert sum(entry.mean == "not measured" for *_, entries in found.rows for entry in entries) == 5


def test_two_lines_of_one_method_are_refused():
    with pytest.raises(BadInput, match="two lines of 'retrain'"):
        Grid("t", ("UA",), (Line("retrain", {}), Line("retrain", {})))


def test_doing_nothing_is_never_the_best_and_errors_are_called_so():
    lines = (line("original", 5.3, 0.06, 0.1, 1), line("salun", 2.85, -2.39, 1.15, 2.66))
    made = grid(*lines, aside=("original",), errors=("Avg. Gap",))
    assert made.best("UA") == made.best("Avg. Gap") == {"salun"}
    notes = " ".join(sheet(made).notes)
    assert "retrain and original aside" in notes
    assert "standard error" not in notes, "no average gap has a spread here"
    own = replace(lines[1], cells={**lines[1].cells, "Avg. Gap": Cell(1.1, 0.4, 3)})
    notes = " ".join(sheet(grid(own, errors=("Avg. Gap",))).notes)
    assert "The spread of Avg. Gap is the standard error." in notes
