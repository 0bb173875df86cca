import re
from html.parser import HTMLParser

import pytest

from expunge.report.bench.page import page
from expunge.report.bench.stopping import stopping
from expunge.report.template import Drawing

from .grids import METHODS, full_grid, grid, line, runs

ATTACK = "<script>alert('x')</script>"
FACTS = {"Data": "CIFAR-10", "Seeds": 3}


class Reader(HTMLParser):
    """Checks that tags are balanced, and keeps the text of each section."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text, self.section = [], [], {}, ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "text"} & set(self.open):
            kept = self.text.get(self.section, "")
            self.text[self.section] = " ".join(f"{kept} {data}".split())


@pytest.fixture(scope="module")
def picture():
    return stopping(runs(), (-2.9, -0.5), "CIFAR-10")


@pytest.fixture(scope="module")
def made(picture):
    drawings = [Drawing("When to stop", "Each thin line is a row.", picture, picture)]
    return page("Random forgetting", FACTS, [full_grid(), grid()], drawings, {"Relearning": "no"})


def test_it_is_valid_and_has_its_parts(made):
    read = Reader(made)
    sections = [a["id"] for t, a in read.tags if t == "section"]
    assert sections == ["run", "tables", "figures", "missing", "words"]
    assert made.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert [t for t, _ in read.tags].count("h1") == 1
    assert "Data CIFAR-10 Seeds 3" in read.text["run"]
    assert all(method in read.text["tables"] for method in METHODS)
    assert "Random 10% of CIFAR-10" in read.text["tables"]
    assert "When to stop" in read.text["figures"]
    links = {a["href"] for t, a in read.tags if t == "a"}
    assert links == {f"#{section}" for section in sections}


def test_nothing_is_fetched_and_nothing_runs(made):
    html = made.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?://|//[a-z]|@import|<script|<link|<iframe", html)
    assert all(url.startswith("#") for url in re.findall(r"url\(['\"]?([^)]*)\)", html))


def test_what_was_not_measured_is_said_with_its_reason(made):
    text = Reader(made).text["missing"]
    assert (
        "Random 10%: fisher (UA, RA, TA, MIA, Avg. Gap) not measured: its models returned NaN."
    ) in text
    assert "Relearning not measured: no." in text
    bare = Reader(page("t", {}, [grid(line("a", 1.0, 1.0)), grid(line("a", 1.0, 1.0))], [], {}))
    assert bare.text["missing"].count("a (Avg. Gap, RTE) not measured: no reason was") == 1
    assert "It was not recorded." in bare.text["run"]
    assert "figures" not in bare.text
    full = Reader(page("t", {}, [grid()], [], {}))
    assert "Every entry of the tables was measured." in full.text["missing"]


def test_every_word_of_the_tables_is_explained_with_its_direction(made):
    entries = re.findall(r"<dt>(.*?)</dt>\n<dd>(.*?)</dd>", made[made.index('id="words"') :])
    terms = dict(entries)
    assert len(terms) == len(entries) == 21
    for name in ("UA", "RA", "TA", "MIA"):
        assert "<strong>Nearer to retrain is better; higher or lower is not." in terms[name]
    for name in ("Avg. Gap", "RTE", "KLoM"):
        assert "<strong>Lower is better." in terms[name]


def test_all_text_is_escaped(picture):
    drawings = [Drawing(ATTACK, ATTACK, picture, picture)]
    made = page(ATTACK, {ATTACK: ATTACK}, [grid(line(ATTACK))], drawings, {ATTACK: ATTACK})
    Reader(made)
    assert "<script" not in made
    assert "alert(&#39;x&#39;)" in made


def test_equal_input_gives_equal_bytes():
    assert page("t", FACTS, [full_grid()], [], {}) == page("t", FACTS, [full_grid()], [], {})
