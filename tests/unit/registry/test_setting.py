"""Settings: what a field says of itself, and which values it refuses."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.registry import Setting, check, described, setting


@dataclass(frozen=True)
class Sample:
    name: ClassVar[str] = "sample"

    epochs: int = setting(3, "passes", unit="epochs", typical="1 to 10", least=1)
    share: float = setting(0.5, "of the rows", least=0, most=1)
    shift: float = setting(0.0, "any number")
    low: float = setting(-1.0, "no more than nothing", most=0)
    loss: str = setting("outputs", "what is matched", choices=("outputs", "distribution"))
    note: str = setting("", "free text")
    fast: bool = setting(False, "whether it hurries")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "epochs of at least 1, a whole number"),
        ("epochs", 2.0, "epochs of at least 1, a whole number"),
        ("epochs", True, "epochs of at least 1, a whole number"),
        ("share", -0.01, "share from 0 to 1"),
        ("share", 1.01, "share from 0 to 1"),
        ("share", float("nan"), "share from 0 to 1"),
        ("share", "half", "share from 0 to 1"),
        ("shift", float("inf"), "shift finite"),
        ("low", 0.5, "low of at most 0"),
        ("note", 3, "note a word"),
        ("fast", 1, "fast true or false"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(name, value, expected):
    with pytest.raises(BadInput, match=rf"sample with {name} = .*Expected: {expected}\."):
        Sample(**{name: value})


def test_a_word_that_is_no_choice_is_refused_with_the_nearest():
    message = r"loss = 'output' \(did you mean 'outputs'\?\)\. Expected: one of outputs, distrib"
    with pytest.raises(BadInput, match=message):
        Sample(loss="output")


def test_the_refusal_says_where_the_settings_are_explained():
    with pytest.raises(BadInput, match=r"Fix: .*`expunge explain sample`"):
        Sample(epochs=-1)


def test_the_ends_of_a_range_can_be_used():
    for share in (0, 0.0, 1, 1.0):
        assert Sample(share=share).share == share
    assert Sample(epochs=1, low=0, loss="distribution", fast=True).epochs == 1


def test_a_field_says_its_kind_default_and_range():
    epochs, share, shift, low, loss, note, fast = described(Sample)
    assert (epochs.name, epochs.kind, epochs.default, epochs.unit) == ("epochs", int, 3, "epochs")
    assert (epochs.what, epochs.typical) == ("passes", "1 to 10")
    allowed = [s.allowed for s in (epochs, share, shift, low, loss, note, fast)]
    assert allowed == [
        *("of at least 1", "from 0 to 1", "finite", "of at most 0"),
        *("one of outputs, distribution", "", ""),
    ]
    assert described(Sample(epochs=7)) == described(Sample)


def test_a_flag_has_hyphens():
    flags = {s.flag for s in described(METHODS["dmm"])}
    assert {"--forget-batch-size", "--lr"} <= flags


def test_a_field_without_a_meaning_is_no_setting():
    @dataclass(frozen=True)
    class Plain:
        lr: float = 0.1
        steps: int = setting(3, "steps")

    assert [s.name for s in described(Plain)] == ["steps"]


def test_none_and_open_ends_and_no_default():
    @dataclass(frozen=True)
    class Sample:
        rows: int | None = setting(None, "rows", least=1)
        share: float = setting(0.5, "share", above=0, most=1)

        def __post_init__(self) -> None:
            check(self)

    rows, share = described(Sample)
    assert (rows.kind, rows.optional, rows.allowed) == (int, True, "of at least 1")
    assert share.allowed == "above 0, of at most 1"
    assert Sample().rows is None
    with pytest.raises(
        BadInput, match="Sample with share = 0. Expected: share above 0, of at most"
    ):
        Sample(share=0)
    with pytest.raises(BadInput, match="rows of at least 1, a whole number, or none"):
        Sample(rows=0)


@pytest.mark.parametrize(
    ("given", "value"),
    [("7", 7), (7.0, 7), (np.int64(7), 7), ("none", None), (None, None), ("0007", 7)],
)
def test_a_whole_number_is_read_from_text(given, value):
    found = Setting("rows", int, 1, "rows", optional=True).read(given, "sample")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("given", ["", "7.5", "seven", 7.5, True, float("nan"), "inf", b"7", [7]])
def test_what_is_no_whole_number_is_refused(given):
    with pytest.raises(BadInput, match="forget set random with rows = "):
        Setting("rows", int, 1, "rows").read(given, "forget set random")


def test_truth_is_read_from_text():
    fast = Setting("fast", bool, False, "hurry")
    assert [fast.read(t, "x") for t in ("true", "False", "1", "0", True)] == [
        *(True, False, True, False, True)
    ]
    for wrong in ("yes", 1, "", None):
        with pytest.raises(BadInput, match="Expected: fast true or false"):
            fast.read(wrong, "x")
