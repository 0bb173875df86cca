"""The table of all methods: a new one is a file and a line here."""

from dataclasses import fields
from typing import Any

from expunge.errors import BadInput, nearest
from expunge.methods.ascent_descent import AscentDescent
from expunge.methods.dm_direct import DMDirect
from expunge.methods.dmm import DMM
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.method import Claim, Given, Method, Result
from expunge.methods.oracle_matching import OracleMatching
from expunge.methods.random_label import RandomLabel
from expunge.methods.retrain import Retrain

METHODS: dict[str, type[Method]] = {
    "retrain": Retrain,
    "fine-tune": FineTune,
    "gradient-ascent": GradientAscent,
    "ascent-descent": AscentDescent,
    "random-label": RandomLabel,
    "oracle-matching": OracleMatching,
    "dm-direct": DMDirect,
    "dmm": DMM,
}

__all__ = ["METHODS", "Claim", "Given", "Method", "Result", "method", "settings"]


def method(name: str, **chosen: Any) -> Method:
    """The method of this name with these settings (numbers may be given as text).

    Raises:
        BadInput: an unknown name or setting, with the nearest known one; a value of the wrong type.
    """
    if name not in METHODS:
        raise BadInput(
            f"unknown method '{name}'{nearest(name, METHODS)}",
            expected=f"one of {', '.join(METHODS)}",
            cure="run `expunge methods` for what each does and needs",
        )
    known = {field.name: field for field in fields(METHODS[name])}  # type: ignore[arg-type]
    for setting, value in chosen.items():
        if setting not in known:
            raise BadInput(
                f"{name} has no setting '{setting}'{nearest(setting, known)}",
                expected=f"one of {', '.join(known)}" if known else "no settings at all",
                cure="run `expunge methods` for the settings of each method",
            )
        chosen[setting] = _as(known[setting].type, value, f"{name} --{setting}")
    return METHODS[name](**chosen)


def settings(chosen: Method) -> dict[str, Any]:
    """The hyper-parameters of a method by name."""
    return {field.name: getattr(chosen, field.name) for field in fields(chosen)}  # type: ignore[arg-type]


def _as(kind: Any, value: Any, what: str) -> Any:
    if kind is bool and isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, bool) == (kind is bool):
        try:
            converted = kind(value)
            if kind is not int or float(value) == converted:
                return converted
        except (TypeError, ValueError):
            pass
    raise BadInput(
        f"{what} is '{value}'",
        expected=f"a value of type {kind.__name__}",
        cure="correct the value",
    )
