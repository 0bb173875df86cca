"""What a class must have to be a method: each thing that is missing is named with its fix."""

import re
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

import pytest

from expunge.api.forget import forget
from expunge.cli.forget import forget as command
from expunge.engine.cost import Cost
from expunge.methods import METHODS, Claim, MethodInputs, Result
from expunge.methods.validate_class import RESERVED, validate_class
from expunge.registry import check, setting


@dataclass(frozen=True)
class Whole:
    """A method in form."""

    name: ClassVar[str] = "whole"
    source: ClassVar[str] = "Our own, 2026"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    lr: float = setting(0.1, "learning rate", least=0)

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, problem, models, inputs=MethodInputs(), *, seed) -> Result:  # noqa: B008
        raise NotImplementedError

    def price(self, problem) -> Cost:
        return Cost()


def changed(**members: Any) -> type:
    """The class in form with other members."""
    members = {"__doc__": "A method in form.", **members}
    return dataclass(frozen=True)(type("Changed", (Whole,), members))


def field(kind: Any, default: Any) -> type:
    """The class in form with one more field, `extra`."""
    return changed(extra=default, __annotations__={"extra": kind})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_in_form(name):
    assert validate_class(METHODS[name]) == []


def test_a_class_in_form_has_no_fault():
    assert validate_class(Whole) == []


def other_call(self, problem, models, *, seed): ...


def positional_seed(self, problem, models, inputs=MethodInputs(), seed=0): ...  # noqa: B008


def required_given(self, problem, models, inputs, *, seed): ...


MISSING = {
    "no class": (Whole(), "it is Whole and no class", "name the class itself"),
    "no dataclass": (type("Bare", (), {}), "no frozen dataclass", r"@dataclass\(frozen=True\)"),
    "not frozen": (
        dataclass(type("Loose", (), {"__doc__": "x"})),
        "no frozen dataclass",
        r"@dataclass\(frozen=True\)",
    ),
    "docstring": (changed(__doc__=None), "no docstring", "in one line what it does"),
    "name": (changed(name=None), "its name is missing", r"name: ClassVar\[str\]"),
    "name in capitals": (changed(name="My_Own"), "its name is 'My_Own'", "lower-case words"),
    "source": (changed(source=" "), "its source is ' '", "source: ClassVar"),
    "claim": (changed(claim="approximate"), "its claim is 'approx", r"Claim\.EXACT"),
    "needs": (changed(needs=frozenset({"luck"})), "its needs are .*luck", "recipe, change, teach"),
    "needs as a list": (changed(needs=["recipe"]), "its needs are", r"frozenset\(\)"),
    "call": (
        changed(__call__=None),
        "its __call__ is not",
        r"write def __call__\(self, problem",
    ),
    "another call": (changed(__call__=other_call), "its __call__ is not", "inputs="),
    "seed by place": (
        changed(__call__=positional_seed),
        "its __call__ is not",
        r"\*, seed",
    ),
    "given required": (
        changed(__call__=required_given),
        "its __call__ is not",
        r"inputs=MethodInputs\(\)",
    ),
    "price": (
        changed(price=None),
        "its price is not",
        r"write def price\(self, problem\)",
    ),
    "exempt": (changed(exempt={"mask": ""}), "its exempt is", "the reason why"),
    "short": (changed(short={"steps": 1}), "its short is", "its own settings"),
    "short refused": (changed(short={"lr": -1.0}), "refuses its own `short`", "correct"),
    "meaning": (field(float, 0.5), "extra does not say what it means", r"extra: float = setting"),
    "type": (field(list, setting(None, "a list")), "extra is no number", "annotate"),
    "reserved": (
        changed(rows=setting(3, "rows read"), __annotations__={"rows": int}),
        "`forget` has a rows of its own",
        "rename rows",
    ),
    "default": (field(int, setting(0, "count", least=1)), "refuses its own default", "correct"),
    "unchecked": (
        changed(__post_init__=lambda self: None),
        "takes lr = -1.0, which is not of at least 0",
        "check",
    ),
    "annotation": (field("Nowhere", 1), "its annotations cannot be read", "import"),
}


@pytest.mark.parametrize(("kind", "what", "fix"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_named_with_its_cure(kind, what, fix):
    found = [fault for fault in validate_class(kind) if re.search(what, fault.what)]
    assert found, validate_class(kind)
    assert re.search(fix, found[0].fix)


def test_all_that_is_missing_is_named_at_once():
    assert len(validate_class(type("Bare", (), {}))) == 8


def test_settings_cannot_take_the_names_that_forget_has():
    taken = {*signature(forget).parameters, *signature(command).parameters}
    assert taken - {"context", "chosen"} <= RESERVED
