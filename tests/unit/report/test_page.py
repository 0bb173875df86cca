import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
import torch

from expunge.audit.verdict.document import document as audit
from expunge.report import page
from expunge.report.page import exemplar

from .documents import METHODS, document, evidence, regression, single, unmeasured

VOID = {"meta", "br", "link", "img", "hr", "input"}
ATTACK = "<script>alert('x')</script>"


class Reader(HTMLParser):
    """Checks that tags are balanced, and keeps the text of each section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "section":
            self.section = ""

    def handle_data(self, data):
        if not {"style", "text", "script"} & set(self.open):
            kept = self.text.get(self.section, "")
            self.text[self.section] = " ".join((kept + " " + data).split())

    @property
    def all(self) -> str:
        return " ".join(self.text.values())


@pytest.fixture(scope="module")
def compared() -> str:
    return page(document(), evidence())


def refused() -> str:
    made = document(("fine-tune",))
    made["methods"]["fine-tune"] |= {"changed": 0.0, "reason": "", "verdict": "supported"}
    made["methods"]["fine-tune"]["klom"]["forget"]["p95"] = 8.7654
    return page(made, evidence(("fine-tune",)))


def test_every_kind_of_audit_gives_valid_html(compared):
    pages = [
        compared,
        page(single(), evidence(("dmm",), members=1)),
        page(regression(), evidence(("oracle-matching",), kind="regression", pictures=False)),
        page(unmeasured(), evidence(("fine-tune",))),
        refused(),
    ]
    for html in pages:
        read = Reader(html)
        assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
        assert [a["id"] for t, a in read.tags if t == "section"] == [
            "summary",
            "engineer",
            "researcher",
        ]
        ids = [a["id"] for _, a in read.tags if "id" in a]
        assert len(ids) == len(set(ids))
        assert [t for t, _ in read.tags].count("h1") == 1
        assert not re.search(r"proved|guarantee", read.all, re.IGNORECASE)


def test_nothing_is_fetched_and_nothing_runs(compared):
    html = compared.replace('xmlns="http://www.w3.org/2000/svg"', "")
    html = re.sub(r"data:image/png;base64,[\w+/=\s]+", "data:image/png;base64,", html)
    assert not re.search(r"https?://|//[a-z]|@import|<script|<link|<iframe", html)
    assert all(url.startswith("#") for url in re.findall(r"url\(['\"]?([^)]*)\)", html))
    for _, attributes in Reader(html).tags:
        for key in ("href", "src", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:image/png;base64,"))


def test_size(compared):
    assert len(compared.encode()) < 1_500_000
    names = tuple(METHODS)
    made, proof = document(), evidence(rows=90)
    for i in range(12):
        made["methods"][f"more-{i}"] = made["methods"][names[i % 8]]
        proof.unlearned[f"more-{i}"] = proof.unlearned[names[i % 8]]
    html = page(made, proof)
    assert len(html.encode()) < 1_500_000
    assert "The 8 weakest methods are not drawn." in html


def test_all_text_is_escaped():
    made = document(("dmm", "fine-tune"), name=ATTACK, description=ATTACK)
    for key in ("command", "machine", "date"):
        made["run"][key] = ATTACK
    made["run"]["versions"] = {ATTACK: ATTACK}
    made["run"]["digests"] = {ATTACK: ATTACK}
    made["not_measured"] = {ATTACK: ATTACK}
    made["settings"][ATTACK] = ATTACK
    made["methods"] = {ATTACK: made["methods"]["dmm"], "fine-tune": made["methods"]["fine-tune"]}
    made["methods"][ATTACK] |= {
        "claim": ATTACK,
        "claim_detail": {"note": ATTACK},
        "reason": ATTACK,
        "settings": {ATTACK: ATTACK},
        "verdict_reasons": [ATTACK],
    }
    made["methods"][ATTACK]["shared_cost"]["what"] = ATTACK
    made["groups"]["models"]["unlearned"] = {ATTACK: 100, "fine-tune": 100}
    proof = evidence(("dmm", "fine-tune"))
    proof.unlearned[ATTACK] = proof.unlearned.pop("dmm")
    html = page(made, proof)
    Reader(html)
    assert "<script" not in html
    assert "alert(&#39;x&#39;)" in html


def test_the_claim_stands_before_any_number(compared):
    single_page = page(single(), evidence(("dmm",), members=1))
    for html in (compared, single_page):
        text = Reader(html).text["summary"]
        first = re.search(r"\d", text)
        assert first is not None
        assert re.search(r"Approximate", text).start() < first.start()
        assert text.index("Supported") < first.start()


def test_three_readers_find_their_parts(compared):
    text = Reader(compared).text
    for words in ("What is claimed", "Not supported", "cannot show", "dm-direct"):
        assert words in text["summary"]
    for words in ("expunge demo --seed 0", "Next steps", "lr = 0.001", "Largest", "17, 903"):
        assert words.lower() in text["engineer"].lower()
    for words in ("[1.48, 1.72]", "null", "Definitions", "bins = 20", "3f5a", "expunge verify DIR"):
        assert words in text["researcher"]
    assert "▲" in text["researcher"]
    assert "What could have been found" in text["researcher"]


TEXTS = [f"Review {n}. {ATTACK}<br /><img src=x> " + "word " * n**2 for n in range(40)]


def shown_texts(html):
    """Of each excerpt the row's place among the forgotten ones, and its texts as a reader sees."""
    found = []
    for part in html.split('<div class="excerpt">')[1:]:
        row = int(re.search(r"Row (\d+)", part)[1])
        quoted = re.findall(r"<(q|blockquote) [^>]*>(.*?)</", part, re.DOTALL)
        found.append(((row - 100) // 7, [unescape(text) for _, text in quoted]))
    return found


def test_texts_of_the_rows_shown_are_their_own_escaped_and_whole_on_demand():
    proof = replace(evidence(("dmm", "fine-tune")), texts=TEXTS, pictures=None)
    html = page(document(("dmm", "fine-tune")), proof)
    read = Reader(html)
    tags = [tag for tag, _ in read.tags]
    assert not {"script", "img"} & set(tags)
    assert ATTACK in read.text["researcher"]
    found = shown_texts(html)
    assert len(found) == 8
    assert len({row for row, _ in found}) > 4
    drawn = [a["aria-label"] for t, a in read.tags if t == "svg" and "furthest" in a["aria-label"]]
    for row, texts in found:
        assert texts[-1] == TEXTS[row].strip()
        if len(texts) == 2:
            assert texts[0].endswith(" …")
            assert len(texts[0]) < 290
            assert texts[1].startswith(texts[0].removesuffix(" …"))
        assert f"row {7 * row + 100}:" in " ".join(drawn)
    assert tags.count("details") == sum(len(texts) == 2 for _, texts in found) > 0


def test_without_texts_the_page_is_as_it_was(compared):
    assert "<blockquote" not in compared
    assert "<details" not in compared


def test_no_text_of_a_refused_method_is_shown():
    made = document(("fine-tune",))
    made["methods"]["fine-tune"] |= {"changed": 0.0, "reason": ""}
    html = page(made, replace(evidence(("fine-tune",)), texts=TEXTS))
    assert "Review" not in html


def test_refusal_shows_no_numbers_as_evidence():
    read = Reader(html := refused())
    assert "No result is issued" in read.text["summary"]
    assert "8.7" not in html
    assert "withheld" in read.text["researcher"]
    assert "✓" not in html
    assert "limit of 1.66" not in html
    assert "<figure>" not in html


def test_what_was_not_measured_is_visible_and_never_green():
    html = page(unmeasured(), evidence(("fine-tune",)))
    read = Reader(html)
    for part in ("summary", "researcher"):
        assert "KLoM: not measured: there were no oracles." in read.text[part]
    assert "No verdict can be given" in read.text["summary"]
    assert "✓" not in html
    assert 'class="finding good"' not in html


def test_no_trace_is_explained():
    made = document(("dmm",))
    made["methods"]["dmm"]["verdict"] = "no measurable trace"
    text = Reader(page(made, evidence(("dmm",)))).text["summary"]
    assert "the original model could not be told from models that never saw" in text
    assert 'class="finding good"' not in text


def test_copies_that_remain_are_a_warning(compared):
    text = Reader(compared).text
    assert "Exact copies of forgotten examples remain" in text["summary"]
    assert "exact copies of forgotten rows: 17, 903." in text["engineer"]
    made = document(("dmm",), duplicates=[])
    assert "Copies remain" not in page(made, evidence(("dmm",)))


def test_tables_have_headers_and_figures_have_words(compared):
    tags = Reader(compared).tags
    assert all(a.get("scope") in ("row", "col") for t, a in tags if t == "th")
    drawings = [a for t, a in tags if t == "svg"]
    assert len(drawings) == 8
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)


def test_equal_input_gives_equal_bytes(compared):
    assert page(document(), evidence()) == compared


def test_the_exemplar_is_the_cheapest_supported_method_beside_retraining():
    assert exemplar(document()) == "dm-direct"
    assert exemplar(document(("retrain", "fine-tune"))) == "retrain"
    assert exemplar(document(("fine-tune", "random-label"))) == "fine-tune"


def test_nothing_is_required_of_the_free_facts():
    made = document(("dmm",))
    made["problem"] = {"kind": "classification", "judged_on": "test", "duplicates": []}
    made["run"] = {}
    text = Reader(page(made, evidence(("dmm",)))).all
    assert "Untitled problem" in text
    assert "was not recorded" in text


def test_what_the_audit_writes_can_be_read():
    proof = evidence(("oracle-matching", "fine-tune"), members=60, rows=20)
    again = evidence(("oracle-matching",), members=60, rows=20).unlearned["oracle-matching"]
    proof.oracle.update({g: torch.cat([x, again[g]]) for g, x in proof.oracle.items()})
    written = document(("oracle-matching", "fine-tune"))
    declared = {
        "problem": written["problem"],
        "run": written["run"],
        "methods": {
            name: {
                key: entry[key]
                for key in (
                    "claim",
                    "claim_detail",
                    "changed",
                    "reason",
                    "settings",
                    "cost",
                    "shared_cost",
                )
            }
            for name, entry in written["methods"].items()
        },
    }
    made = audit(proof, declared)
    read = Reader(page(made, proof))
    assert made["methods"]["fine-tune"]["verdict"] == "not supported"
    assert "fine-tune (approximate) . It differs on forgotten" in read.text["summary"]
    assert "60" in read.text["researcher"]
