"""What the command line and the pages say of each method and its settings."""

import io
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from expunge.cli.method_help import explain, shown
from expunge.cli.method_pages import COMMAND, INDEX, page, pages, write_pages
from expunge.contract.cases import exemptions
from expunge.methods import METHODS
from expunge.methods.describe import about
from expunge.registry import described
from tests.packages import commands

PAGES = Path(__file__).parents[2] / "docs" / "methods"
every = pytest.mark.parametrize("name", METHODS)


def told(name, width=80):
    """What the help says of a method, as on a terminal of this width."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    explain(console, about(METHODS[name]))
    return console.file.getvalue()


@every
def test_help_explains_each_setting_and_is_readable_at_80_columns(name):
    lines = told(name).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)  # nothing is cut off
    words = " ".join(told(name, 400).split())
    for s in described(METHODS[name]):
        (row,) = [line for line in lines if line.startswith(f"  {s.flag} ")]
        assert row.split()[1] == (shown(s.default) or s.what.split()[0])
        assert f"{s.flag} {shown(s.default)}".strip() in words
        assert s.what in words
        assert s.typical in words


@every
def test_every_setting_says_what_it_means_and_numbers_what_is_typical(name):
    for s in described(METHODS[name]):
        assert s.what
        assert not s.what.endswith(".")
        assert s.kind not in (int, float) or s.typical or "below 1 to test" in s.what, s.name


@every
def test_help_says_source_claim_needs_and_cost(name):
    words = " ".join(told(name, 400).split())
    chosen = about(METHODS[name])
    for part in (chosen.what, chosen.title, chosen.origin, chosen.cost, f"claim {chosen.claim}"):
        assert part
        assert part in words
    assert "needs " in words


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Commands and what they say; white space as it is."""
    asked = {
        "bare": ("forget", "--help"),
        "dmm": ("forget", "--method", "dmm", "--help"),
        "equals": ("forget", "--help", "--method=dmm"),
        "unknown": ("forget", "--method", "dnm", "--help"),
        "list": ("methods",),
        "json": ("methods", "--json"),
    }
    found = commands(tmp_path_factory.mktemp("help"), *asked.values())
    return dict(zip(asked, found, strict=True))


def test_help_without_a_method_says_how_to_ask_for_one(spoken):
    code, out, _ = spoken["bare"]
    assert code == 0
    assert "--method NAME --help explains those of each method" in " ".join(out.split())
    assert "Method " not in out


def test_help_with_a_method_has_both(spoken):
    code, out, _ = spoken["dmm"]
    assert code == 0
    assert "--half-models" in out
    assert "Method dmm: Match the model's own outputs" in out
    assert "--retain-batch-size" in out
    assert spoken["equals"] == spoken["dmm"]


def test_help_for_an_unknown_method_is_bad_input(spoken):
    code, _, err = spoken["unknown"]
    assert code == 2
    assert "Error: unknown method 'dnm' (did you mean 'dmm'?)." in err


def test_the_list_gives_each_setting_with_its_meaning(spoken):
    out = spoken["list"][1]
    assert re.search(r"--loss +outputs +what is matched", out)
    assert "needs     an attribution (of the model itself, or from half-data models)" in out
    assert "`expunge forget --method NAME --help` says more about one." in out


def test_json_holds_all_there_is_to_say(spoken):
    found = {row["name"]: row for row in json.loads(spoken["json"][1])}
    assert found.keys() == METHODS.keys()
    assert {f.name for f in fields(about(METHODS["dmm"]))} | {"exempt"} == found["dmm"].keys()
    steps = found["dmm"]["settings"][0]
    assert (steps["name"], steps["flag"], steps["kind"]) == ("steps", "--steps", "int")
    assert (steps["default"], steps["unit"], steps["least"]) == (160, "steps", 1)
    assert (steps["allowed"], steps["typical"]) == ("of at least 1", "40 to 800")
    assert found["dmm"]["needs"] == ["change"]
    assert "mask" in found["retrain"]["exempt"]


# ---- pages


def test_the_pages_are_up_to_date():
    """Renew them by the command in the message."""
    made = pages([(about(kind), exemptions(kind)) for kind in METHODS.own.values()])
    found = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    old = {name for name in made | found if made.get(name) != found.get(name)}
    assert not old, f"run `{COMMAND}` (and delete pages of methods that are gone)"


def test_a_page_says_all_that_the_help_says():
    text = page(about(METHODS["influence"]), exemptions(METHODS["influence"]))
    for heading in ("Source", "Where it differs", "Cost", "Settings", "Use"):
        assert f"\n## {heading}\n" in text
    row = (
        "| `--curvature` | `fisher` |  | matrix that is inverted |  | one of fisher, gauss-newton |"
    )
    assert row in text
    assert "--method influence --alpha 1.0 --curvature fisher\n" in text
    assert 'method="influence", alpha=1.0, curvature="fisher")' in text
    assert "- buffers. Statistics of batch norm move" in text


def test_marks_of_markdown_in_plain_text_are_escaped():
    """A bar would end a cell; code keeps its own."""
    text = page(about(METHODS["retrain"]), {"mask": "a | b * c, `d|e`"})
    assert r"Here: a \| b \* c, `d|e`." in text


def test_pages_are_written_into_a_folder(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text("mine")
    made = write_pages([(about(METHODS["dmm"]), {})], tmp_path / "docs")
    assert made.keys() == {INDEX, "dmm.md"}
    assert (tmp_path / "docs" / "dmm.md").read_text() == made["dmm.md"]
    assert "[dmm](dmm.md)" in (tmp_path / "docs" / INDEX).read_text()
    assert (tmp_path / "docs" / "other.md").read_text() == "mine"
