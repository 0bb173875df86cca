from dataclasses import replace

import pytest

from expunge.report.excerpts import START, WHOLE, excerpts, shortened

from .documents import document, evidence


def test_there_are_none_without_texts_or_of_a_refused_method():
    made, proof = document(("dmm",)), evidence(("dmm",), members=60, rows=6)
    told = replace(proof, texts=[f"text {n}" for n in range(6)])
    assert excerpts(made, proof, "dmm") == []
    assert len(excerpts(made, told, "dmm")) == 4
    made["methods"]["dmm"] |= {"changed": 0.0, "reason": ""}
    assert excerpts(made, told, "dmm") == []


@pytest.mark.parametrize("text", ["short", "two\nlines", "x" * START])
def test_a_short_text_is_shown_as_it_is(text):
    assert shortened(text) == (text, "")


def test_a_long_text_ends_at_a_word_and_is_whole_on_demand():
    text = "word " * 200
    start, whole = shortened(text)
    assert start.endswith("word …")
    assert len(start) <= START + 2
    assert whole == text.strip()


def test_one_long_word_is_cut():
    assert shortened("x" * 1000) == ("x" * START + " …", "x" * 1000)


def test_a_very_long_text_is_cut_and_says_so():
    _, whole = shortened("word " * 10_000)
    assert len(whole) < WHOLE + 100
    assert "39,999 more characters are in the evidence" in whole


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_text_says_so(text):
    assert shortened(text) == ("(an empty text)", "")


def test_control_characters_become_spaces():
    assert shortened("a\x00b\x1bc\u00a0d\u200de") == ("a b c\u00a0d\u200de", "")
