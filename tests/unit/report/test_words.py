import pytest

from expunge.report import words
from expunge.report.document import Reading

from .documents import document


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not measured"),
        (0.0, "0"),
        (0.3149, "0.31"),
        (10.2, "10.20"),
        (1234.5, "1,234"),
        (0.004, "0.004"),
        (2e-6, "2e-06"),
        (-3.0, "-3.00"),
    ],
)
def test_number(value, text):
    assert words.number(value) == text


def test_a_value_comes_with_its_spread():
    assert words.spread(Reading(1.6, 1.5, 1.7)) == "1.60 ±0.10"
    assert words.interval(Reading(1.6, 1.5, 1.7)) == "[1.50, 1.70]"
    assert words.spread(None) == "not measured"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "next to nothing"),
        (0.004, "less than 1%"),
        (0.2, "about 20%"),
        (1.0, "about as much as"),
        (1.4, "1.4 times"),
        (500.0, "500 times"),
    ],
)
def test_effort(share, text):
    assert text in words.effort(share)


def test_listing():
    assert [words.listing(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_validation_rows_are_called_so():
    assert words.group_word(document(judged_on="validation"), "test") == "validation"
    assert words.group_word(document(), "test") == "test"
