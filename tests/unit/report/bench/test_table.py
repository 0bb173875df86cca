import re
import xml.etree.ElementTree as ElementTree

import pytest

from expunge.report.bench.grid import Cell, Grid, Line
from expunge.report.bench.table import html, latex, markdown

from .grids import METHODS, full_grid, grid, line

NASTY = "[50%] of {x} & #1 _a_^~\\ $y$ --lr <b>|*`"


def nasty():
    lines = (Line("retrain", {"UA": Cell(1.0)}), Line(NASTY, {"UA": None}, note=NASTY))
    return Grid(NASTY + "\n\x00", ("UA",), lines, missing={f"{NASTY}/UA": NASTY})


def test_every_method_and_column_is_in_every_notation():
    for text in (markdown(full_grid()), latex(full_grid()), html(full_grid())):
        for name in (*METHODS, "UA", "RA", "TA", "MIA", "Avg. Gap", "RTE (min)"):
            assert name in text
        assert text.count("not measured") == 5
        assert text.count("its models returned NaN") == 1
        assert text.endswith("\n")


def test_markdown_is_one_table_with_the_best_in_bold():
    lines = markdown(grid()).splitlines()
    assert lines[0] == "**Random 10% of CIFAR-10**"
    assert lines[2] == "| Method | UA (%) | Avg. Gap | RTE (min) |"
    assert lines[4] == "| retrain | 5.24±0.30 (0.00) | 0.00 | 43.3±0.0 |"
    assert lines[5] == "| salun | 2.85±0.30 (−2.39) | 1.15 | 2.66±0.01 |"
    assert lines[6] == "| dmm | **5.60±0.30 (+0.36)** | **0.50** | **0.0132±0.0120** |"
    rows = [one for one in markdown(nasty()).splitlines() if one.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "<b>" not in markdown(nasty())
    assert "\\*\\`" in markdown(nasty())


def test_ties_are_all_bold():
    made = grid(line("a", 5.0, -0.24), line("b", 5.48, 0.24), line("c", 9.0, 3.76))
    assert re.findall(r"<strong>([\d.]+) ", html(made)) == ["5.00", "5.48"]
    assert markdown(made).count("**5.") == 2
    assert latex(made).count(r"$\mathbf{5.") == 2


def test_latex_has_rules_caption_label_and_balanced_braces():
    text = latex(grid())
    for part in (
        r"\begin{table}[t]",
        r"\caption{Random 10\% of CIFAR-10}",
        r"\label{tab:random-10-of-cifar-10}",
        r"\toprule",
        r"\bottomrule",
        r"\end{table}",
    ):
        assert text.count(part) == 1
    assert r"salun & $2.85_{\pm 0.30}$ ($-2.39$) & $1.15$ & $2.66_{\pm 0.01}$ \\" in text
    assert r"$\mathbf{5.60_{\pm 0.30}}$ ($\mathbf{+0.36}$)" in text


@pytest.mark.parametrize("made", [grid, full_grid, nasty])
def test_latex_is_balanced_and_has_equal_rows(made):
    text = latex(made())
    assert text.isascii()
    bare = re.sub(r"\\[\\{}$&#_%]", "", text)  # escaped characters and line breaks
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert "#" not in bare
    rows = [one for one in text.splitlines() if one.endswith(r" \\")]
    cells = {len(re.findall(r"(?<!\\)&", row)) for row in rows}
    assert cells == {len(made().columns)}
    assert text.count(r"\begin{") == text.count(r"\end{")


def test_latex_escapes_what_it_did_not_write():
    text = latex(nasty())
    escaped = (
        r"{[}50\%] of \{x\} \& \#1 \_a\_\textasciicircum{}\textasciitilde{}\textbackslash{} \$y\$ "
        r"-{}-lr \textless{}b\textgreater{}\textbar{}{*}`"
    )
    assert text.count(escaped) == 3  # caption, row, and one footnote for note and reason
    assert r"\label{tab:50-of-x-1-a-y-lr-b}" in text


class Parsed:
    """The table as a tree: HTML of this kind is XML, too."""

    def __init__(self, made):
        self.root = ElementTree.fromstring(html(made))
        self.body = self.root.findall("tbody/tr")

    def text(self, path):
        return ["".join(e.itertext()) for e in self.root.findall(path)]


def test_html_has_caption_scopes_and_footnotes():
    found = Parsed(full_grid())
    assert found.root.tag == "table"
    assert found.text("caption") == ["Random 10%"]
    assert {e.attrib["scope"] for e in found.root.findall("thead/tr/th")} == {"col"}
    assert {e.attrib["scope"] for e in found.root.findall("tbody/tr/th")} == {"row"}
    assert found.text("tbody/tr/th") == METHODS
    assert {len(row) for row in found.body} == {7}
    assert found.root.find("tfoot/tr/td").attrib["colspan"] == "7"
    assert "a its models returned NaN." in found.text("tfoot/tr/td/p")
    assert "In brackets, ± is the standard error of the gap." in found.text("tfoot/tr/td/p")[0]
    assert found.body[0].attrib["class"] == "reference"


def test_html_shows_signs_and_escapes():
    found = Parsed(grid())
    assert found.text("tbody/tr/td")[3] == "2.85 ±0.30 (−2.39 ±0.20)"
    assert found.text("tbody/tr/td")[6] == "5.60 ±0.30 (+0.36 ±0.20)"
    assert found.text("tbody/tr/td/strong") == ["5.60 ±0.30", "0.50", "0.0132 ±0.0120"]
    assert "<b>" not in html(nasty())
    assert Parsed(nasty()).text("tbody/tr/th")[1] == NASTY + "a"


def test_a_table_of_nothing_says_so():
    made = Grid("t", ("UA",), (Line("retrain", {}),))
    assert "tfoot" not in html(made)
    assert "parbox" not in latex(made)
    for text in (markdown(made), latex(made), html(made)):
        assert "not measured" in text


def test_equal_tables_give_equal_text():
    assert markdown(full_grid()) == markdown(full_grid())
    assert latex(full_grid()) == latex(full_grid())
    assert html(full_grid()) == html(full_grid())
