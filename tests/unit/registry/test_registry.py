"""A registry: entries by name, and settings from text or from a mapping."""

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from expunge.errors import BadInput
from expunge.forget_sets import FORGET_SETS
from expunge.methods import MASKS, METHODS, method
from expunge.registry import REQUIRED, Registry, check, class_faults, setting


@dataclass(frozen=True)
class Plain:
    """No settings."""

    name: ClassVar[str] = "plain"


@dataclass(frozen=True)
class Full:
    """Settings of each type, and an input."""

    name: ClassVar[str] = "full"

    rows: list
    count: int = setting(REQUIRED, "how many", least=1)
    rate: float | None = setting(None, "a rate", above=0)
    end: str = setting("top", "which end", choices=("top", "bottom"))
    batch_size: int = setting(8, "rows a step", least=1)
    fast: bool = setting(False, "hurry")
    numbers: tuple[int, ...] = setting((), "row numbers")

    def __post_init__(self) -> None:
        check(self)


LISTS: Registry = Registry("row list", Plain, Full)


def test_a_group_is_named_by_the_noun():
    assert LISTS.group == "expunge.row_lists"
    assert [r.group for r in (METHODS, MASKS, FORGET_SETS)] == [
        *("expunge.methods", "expunge.masks", "expunge.forget_sets")
    ]


def test_a_mapping_of_classes():
    assert [*LISTS] == ["plain", "full"]
    assert LISTS["full"] is Full
    assert "none" not in LISTS
    assert LISTS.make("plain") == Plain()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("full:3", {"count": 3}),
        ("full:count=3", {"count": 3}),
        ("full:count=3,rate=1e-3,end=bottom", {"count": 3, "rate": 0.001, "end": "bottom"}),
        ("full:count=3,rate=none,fast=true", {"count": 3, "rate": None, "fast": True}),
        ("full: batch-size = 4 , count = 3", {"batch_size": 4, "count": 3}),
        ("full:count=3,numbers=5+7", {"count": 3, "numbers": (5, 7)}),
        ("plain:", {}),
        ("plain", {}),
    ],
)
def test_settings_in_a_text(text, chosen):
    assert LISTS.read(text) == (text.partition(":")[0], chosen)


def test_text_and_mapping_go_together_and_inputs_are_no_settings():
    made = LISTS.make("full:3", {"rate": "0.5", "numbers": [1, 2]}, {"rows": [9]})
    assert made == Full([9], 3, 0.5, numbers=(1, 2))


NASTY = {
    "full": "row list full without count. Expected: the settings count. Fix: add count=",
    "full:": "row list full without count",
    "ful:3": "unknown row list 'ful' (did you mean 'full'?). Expected: one of plain, full",
    ":3": "unknown row list ''",
    "full:count": "row list full with count = 'count'. Expected: count of at least 1, a whole",
    "full:count=": "with count = ''",
    "full:count=3,": "'' in the settings of row list full. Expected: settings as key=value",
    "full:3,4": "'3' in the settings of row list full",
    "full:3,rate=1": "'3' in the settings of row list full",
    "full:count=3,count=4": "has the setting 'count' twice. Expected: each setting once",
    "full:count=3=4": "with count = '3=4'",
    "full:count=3:rate=1": "with count = '3:rate=1'",
    "full:cont=3": "has no setting 'cont' (did you mean 'count'?). Expected: one of count, rate",
    "full:rows=3,count=1": "has no setting 'rows'",
    "full:count=1e9999": "with count = '1e9999'",
    "full:count=3,rate=nan": "with rate = 'nan'. Expected: rate above 0, or none",
    "full:count=3,rate=0": "with rate = '0'. Expected: rate above 0",
    "full:count=none": "with count = 'none'",
    "full:count=3,end=botom": "with end = 'botom' (did you mean 'bottom'?). Expected: one of top",
    "full:count=3,numbers=5+x": "with numbers = '5+x'. Expected: numbers whole numbers",
    "full:count=3,numbers=-5": "with numbers = '-5'",
    "plain:3": "'3' in the settings of row list plain",
    "plain:a=3": "has no setting 'a'. Expected: no settings at all",
}


@pytest.mark.parametrize("text", NASTY)
def test_a_text_that_cannot_be_read_is_refused_with_fact_expected_and_fix(text):
    with pytest.raises(BadInput, match=re.escape(NASTY[text])) as caught:
        LISTS.read(text)
    assert caught.value.expected
    assert caught.value.fix


def test_a_setting_in_both_text_and_mapping_is_refused():
    with pytest.raises(BadInput, match="the setting 'count' twice"):
        LISTS.read("full:3", {"count": 4})


@pytest.mark.parametrize("text", ["saliency:0.5", "saliency:share=0.5"])
def test_a_mask_is_written_as_it_is_read(text):
    assert MASKS.text(MASKS.make(text)) == "saliency:0.5"


@pytest.mark.parametrize("share", [1.0, 0.1, 1e-9, 0.123456789012345])
def test_no_digit_of_a_setting_is_lost(share):
    made = MASKS["saliency"](share)
    assert MASKS.make(MASKS.text(made)) == made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("half", "unknown mask 'half'"),
        ("saliency", "mask saliency without share"),
        ("saliency:0", "share = '0'. Expected: share above 0, of at most 1"),
        ("saliency:1.5", "share above 0, of at most 1"),
        ("saliency:0.5,0.5", "'0.5' in the settings of mask saliency"),
    ],
)
def test_masks_that_cannot_be_used(text, told):
    with pytest.raises(BadInput, match=told):
        MASKS.make(text)


def test_a_method_may_have_its_settings_in_its_name():
    assert method("dmm:steps=5", lr="0.01") == METHODS["dmm"](steps=5, lr=0.01)


def test_a_class_that_is_given_inputs_can_be_checked():
    faults = class_faults(Full, {"__call__": "def __call__(self, source)"}, frozenset({"rows"}))
    assert [fault.what for fault in faults] == ["its __call__ is not as it must be"]
    assert class_faults(Full, {}, frozenset({"rows"})) == []
    assert "rows does not say what it means" in class_faults(Full, {})[0].what
