from io import StringIO

import pytest
from rich.console import Console

from expunge.report import markdown, table

from .documents import document, regression, single, unmeasured


def printed(made, width: int) -> str:
    console = Console(width=width, file=StringIO(), color_system=None)
    console.print(table(made, width))
    return console.file.getvalue()  # type: ignore[union-attr]


def test_methods_stand_below_the_null_and_the_original_best_first():
    lines = printed(document(), 140).splitlines()
    first = [line.split()[0] for line in lines if line.strip()]
    assert first[2:8] == ["null", "original", "retrain", "oracle-matching", "dm-direct", "dmm"]
    assert "0.80 ±0.12" in lines[5]
    assert "✓ supported" in lines[5]
    assert "0.20†" in lines[5]
    assert "approximate" in lines[5]


@pytest.mark.parametrize("width", [80, 100])
def test_eighty_columns_hold_the_verdict(width):
    text = printed(document(), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "✓ supported" in text
    assert "inconclusive" in text
    assert "±0.12" in text


def test_distance_stands_in_for_klom():
    text = printed(single(), 140)
    assert "Distance forget" in text
    assert "1.30 ±0.12" in text
    assert "KLoM not measured: it needs at least 50 models" in " ".join(text.split())


def test_what_is_missing_is_said_in_words():
    text = " ".join(printed(unmeasured(), 140).split())
    assert text.count("not measured") >= 15
    assert "supported" not in text
    assert "inconclusive" in text


def test_refused_methods_show_no_numbers():
    made = document(("dmm",))
    made["methods"]["dmm"] |= {"changed": 0.0, "reason": ""}
    line = next(line for line in markdown(made).splitlines() if line.startswith("| dmm"))
    assert line.count("withheld") == 6
    assert "refused" in line
    assert "1.6" not in line


def test_regression_shows_errors():
    text = markdown(regression())
    assert "error forget" in text
    assert "| 3.10 | 2.40 |" in text


def test_names_are_text_not_markup():
    made = document(("dmm",))
    made["methods"] = {"[red]a|b[/red] <i>": made["methods"]["dmm"]}
    assert "[red]" in printed(made, 140)
    assert "| [red]a\\|b[/red] &lt;i> |" in markdown(made)


def test_markdown_has_one_width():
    rows = [line for line in markdown(document()).splitlines() if line.startswith("|")]
    assert len(rows) == 12
    assert {line.count("|") for line in rows} == {11}
