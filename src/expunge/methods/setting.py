"""A setting of a method: a field that says what it means, its unit and which values are allowed.

From this follow the flags' help, the method's page, `expunge methods --json` and the refusal of
values that cannot be used.
"""

from dataclasses import MISSING, dataclass, field, fields
from math import isfinite
from typing import Any, get_type_hints

from expunge.errors import BadInput, nearest

_KEY = "expunge setting"


@dataclass(frozen=True)
class Setting:
    """What is to be said about one field of a method."""

    name: str
    kind: type  # int, float, str or bool
    default: Any
    what: str  # "" where the field was not made by `setting`
    unit: str = ""  # e.g. "epochs"; "" for a pure number, a word or yes and no
    typical: str = ""  # the range that published code and our own benchmarks use, e.g. "1 to 10"
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As the command line has it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def allowed(self) -> str:
        """Which values can be used, in words; "" for yes and no and for free text."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind not in (int, float):
            return ""
        if self.least is not None and self.most is not None:
            return f"from {self.least:g} to {self.most:g}"
        if self.least is not None:
            return f"of at least {self.least:g}"
        return f"of at most {self.most:g}" if self.most is not None else "finite"


def setting(
    default: Any,
    what: str,
    *,
    unit: str = "",
    typical: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a method with its meaning.

    Args:
        default: also what decides nothing else: the field's annotation is its type.
        what: what it does, in a few words without a full stop.
        unit: of a number, e.g. "epochs", "rows a step"; empty for a pure number.
        typical: the range that is worth trying, e.g. "0.001 to 0.1".
        least: smallest value that can be used.
        most: largest value that can be used.
        choices: of a word, all that can be used.
    """
    said = {
        "what": what,
        "unit": unit,
        "typical": typical,
        "least": least,
        "most": most,
        "choices": choices,
    }
    return field(default=default, metadata={_KEY: said})


def described(kind: Any) -> list[Setting]:
    """The settings of a method (its class, or one made) in the order of its fields."""
    kinds = get_type_hints(kind if isinstance(kind, type) else type(kind))
    return [
        Setting(
            f.name,
            kinds[f.name],
            None if f.default is MISSING else f.default,
            **f.metadata.get(_KEY, {"what": ""}),
        )
        for f in fields(kind)
    ]


def check(method: Any) -> None:
    """Raise BadInput unless every setting of a method has a value that can be used."""
    for known in described(method):
        value = getattr(method, known.name)
        if not _fits(known, value):
            shown = f"'{value}'" if known.kind is str else value
            near = nearest(str(value), known.choices)
            raise BadInput(
                f"{method.name} with {known.name} = {shown}{near}",
                expected=_expected(known),
                fix=f"correct the setting; `expunge forget --method {method.name} --help` "
                "explains each one",
            )


def _fits(known: Setting, value: Any) -> bool:
    if known.kind is bool or isinstance(value, bool):
        return known.kind is bool and isinstance(value, bool)
    if known.kind is str:
        return isinstance(value, str) and (not known.choices or value in known.choices)
    if not isinstance(value, int if known.kind is int else (int, float)) or not isfinite(value):
        return False
    low = known.least is None or value >= known.least
    return low and (known.most is None or value <= known.most)


def _expected(known: Setting) -> str:
    if known.choices:
        return known.allowed
    if known.kind is bool:
        return f"{known.name} true or false"
    if known.kind is str:
        return f"{known.name} a word"
    number = f"{known.name} {known.allowed}"
    return f"{number}, a whole number" if known.kind is int else number
