"""A setting: a field that declares its meaning, its unit and the values that are allowed.

From this follow flags, help, pages, `expunge methods --json` and the refusal of other values. Any
frozen dataclass can have settings: methods, attributions, masks, forget sets, metrics, problems.
"""

from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from expunge.errors import BadInput, nearest

_KEY = "expunge setting"
REQUIRED: Any = MISSING  # the default of a setting that has none
WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Setting:
    """One setting of a class, as declared."""

    name: str
    kind: type  # int, float, str, bool; or tuple, of whole numbers
    default: Any
    what: str
    unit: str = ""  # e.g. "epochs"; "" for a pure number, a word or yes and no
    typical: str = ""  # the range that published code and our own benchmarks use, e.g. "1 to 10"
    least: float | None = None
    most: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False  # None is a value too

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def allowed(self) -> str:
        """The values that are allowed, in words; "" for yes and no and for free text."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind not in (int, float):
            return "whole numbers" if self.kind is tuple else ""
        if self.least is not None and self.most is not None:
            return f"from {self.least:g} to {self.most:g}"
        bounds = (("of at least", self.least), ("above", self.above), ("of at most", self.most))
        return ", ".join(f"{word} {b:g}" for word, b in bounds if b is not None) or "finite"

    @property
    def expected(self) -> str:
        """The values that are allowed, in words, with the setting's name."""
        values = {bool: "true or false", str: self.allowed or "a word"}.get(self.kind, self.allowed)
        if self.kind is int:
            values = f"{values}, a whole number".removeprefix("finite, ")
        none = ", or none" if self.optional else ""
        return f"{'' if self.choices else f'{self.name} '}{values}{none}"

    def allows(self, value: Any) -> bool:
        """Whether a value has the setting's type and is in its range."""
        if value is None:
            return self.optional
        if self.kind is tuple:
            return isinstance(value, tuple) and all(type(number) is int for number in value)
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        if self.kind is str:
            return isinstance(value, str) and (not self.choices or value in self.choices)
        if not isinstance(value, int if self.kind is int else (int, float)) or not isfinite(value):
            return False
        low = self.least is None or value >= self.least
        over = self.above is None or value > self.above
        return low and over and (self.most is None or value <= self.most)

    def read(self, given: Any, whose: str) -> Any:
        """A value of the setting's type from a value, or from its text.

        Args:
            given: e.g. 0.1 or "0.1"; a whole float is an int; "none" is None.
            whose: begins the message, e.g. "method dmm".

        Raises:
            BadInput: a value that is not allowed.
        """
        value = self._converted(given)
        if not self.allows(value):
            raise self.refused(given, whose)
        return value

    def refused(self, value: Any, whose: str) -> BadInput:
        """The error for a value that is not allowed."""
        shown = f"'{value}'" if isinstance(value, str) else value
        return BadInput(
            f"{whose} with {self.name} = {shown}{nearest(str(value), self.choices)}",
            expected=self.expected,
            fix=f"correct it; {explained(whose)}",
        )

    def _converted(self, given: Any) -> Any:
        if self.optional and isinstance(given, str) and given.lower() == "none":
            return None
        if self.kind is tuple:
            return _numbers(given)
        if self.kind is bool:
            return WORDS.get(given.lower(), given) if isinstance(given, str) else given
        if self.kind is str or isinstance(given, bool) or not isinstance(given, (str, Real)):
            return given
        try:
            if self.kind is int and isinstance(given, Integral | str):
                return int(given)
            number = float(given)
        except ValueError:
            return given
        return int(number) if self.kind is int and number.is_integer() else number


def setting(
    default: Any,
    what: str,
    *,
    unit: str = "",
    typical: str = "",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its meaning; its annotation is its type.

    A type is int, float, str, bool or tuple[int, ...], each with or without None.

    Args:
        default: REQUIRED where there is none.
        what: the meaning, in a few words without a full stop.
        unit: of a number, e.g. "epochs", "rows a step"; empty for a pure number.
        typical: the range that is worth trying, e.g. "0.001 to 0.1".
        least: smallest value that is allowed.
        most: largest value that is allowed.
        above: every allowed value is larger.
        choices: all words that are allowed.
    """
    meaning = {
        "what": what,
        "unit": unit,
        "typical": typical,
        "least": least,
        "most": most,
        "above": above,
        "choices": choices,
    }
    return field(default=default, metadata={_KEY: meaning})


def described(kind: Any) -> list[Setting]:
    """The settings of a class, or of an instance, in the order of its fields."""
    declared = [f for f in fields(kind) if _KEY in f.metadata] if is_dataclass(kind) else []
    hints = get_type_hints(kind if isinstance(kind, type) else type(kind)) if declared else {}
    return [_setting(f, hints[f.name]) for f in declared]


def others(kind: Any) -> list[str]:
    """Names of the fields of a class that it is given when it is made, and are no settings."""
    return [f.name for f in fields(kind) if f.init and _KEY not in f.metadata]


def check(made: Any) -> None:
    """Raise BadInput unless every setting has a value that is allowed; for `__post_init__`."""
    for known in described(made):
        value = getattr(made, known.name)
        if not known.allows(value):
            raise known.refused(value, getattr(made, "name", "") or type(made).__name__)


def explained(whose: str) -> str:
    """Where settings are explained: the last word of `whose` is the name."""
    return f"`expunge explain {whose.rpartition(' ')[2]}` lists the settings"


def _setting(declared: Field, hint: Any) -> Setting:
    kinds = [k for k in get_args(hint) if k is not NoneType] if _is_union(hint) else [hint]
    kind = kinds[0] if len(kinds) == 1 else hint
    kind = tuple if kind == tuple[int, ...] else kind
    meaning = declared.metadata[_KEY]
    return Setting(declared.name, kind, declared.default, **meaning, optional=_is_union(hint))


def _numbers(given: Any) -> Any:
    """A list as a tuple, or text such as "5+7"."""
    if isinstance(given, str):
        return tuple(int(word) if word.isdecimal() else word for word in given.split("+"))
    return tuple(given) if isinstance(given, list | tuple) else given


def _is_union(hint: Any) -> bool:
    return isinstance(hint, UnionType) or NoneType in get_args(hint)
