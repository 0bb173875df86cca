"""The table of all methods: a new one is a file and a line here, or an entry point elsewhere."""

from dataclasses import fields
from typing import Any

from expunge.errors import BadInput, nearest
from expunge.methods.amnesiac import Amnesiac
from expunge.methods.ascent_descent import AscentDescent
from expunge.methods.bad_teacher import BadTeacher
from expunge.methods.boundary_expand import BoundaryExpand
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.dm_direct import DMDirect
from expunge.methods.dmm import DMM
from expunge.methods.fine_tune import FineTune
from expunge.methods.fisher import FisherForgetting
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.influence import Influence
from expunge.methods.l1_sparse import L1Sparse
from expunge.methods.masked import Masked, masked
from expunge.methods.method import Claim, Method, MethodInputs, Result
from expunge.methods.oracle_matching import OracleMatching
from expunge.methods.random_label import RandomLabel
from expunge.methods.registry import Table
from expunge.methods.retrain import Retrain
from expunge.methods.salun import SalUn
from expunge.methods.salun_soft import SalUnSoft
from expunge.methods.scrub import SCRUB
from expunge.methods.setting import described
from expunge.methods.single_gradient import SingleGradient
from expunge.methods.ssd import SSD
from expunge.methods.uniform_label import UniformLabel

METHODS = Table(
    {
        "retrain": Retrain,
        "fine-tune": FineTune,
        "gradient-ascent": GradientAscent,
        "ascent-descent": AscentDescent,
        "random-label": RandomLabel,
        "uniform-label": UniformLabel,
        "l1-sparse": L1Sparse,
        "salun": SalUn,
        "salun-soft": SalUnSoft,
        "scrub": SCRUB,
        "bad-teacher": BadTeacher,
        "boundary-shrink": BoundaryShrink,
        "boundary-expand": BoundaryExpand,
        "influence": Influence,
        "fisher": FisherForgetting,
        "ssd": SSD,
        "single-gradient": SingleGradient,
        "amnesiac": Amnesiac,
        "oracle-matching": OracleMatching,
        "dm-direct": DMDirect,
        "dmm": DMM,
    }
)

__all__ = ["METHODS", "Claim", "MethodInputs", "Method", "Result", "masked", "method", "settings"]


def method(name: str, **chosen: Any) -> Method:
    """The method of this name with these settings (numbers may be given as text).

    Raises:
        BadInput: an unknown name or setting, with the nearest known one; a value of the wrong type.
    """
    kind = kind_of(name)
    known = {setting.name: setting for setting in described(kind)}
    for setting, value in chosen.items():
        if setting not in known:
            raise BadInput(
                f"{name} has no setting '{setting}'{nearest(setting, known)}",
                expected=f"one of {', '.join(known)}" if known else "no settings at all",
                fix=f"run `expunge forget --method {name} --help` for what each does",
            )
        chosen[setting] = _as(known[setting].kind, value, f"{name} --{setting}")
    return kind(**chosen)


def kind_of(name: str) -> type[Method]:
    """The class of the method of this name.

    Raises:
        BadInput: an unknown name, with the nearest known one; one of another package that cannot
            be used.
    """
    if name not in METHODS:
        raise BadInput(
            f"unknown method '{name}'{nearest(name, METHODS)}",
            expected=f"one of {', '.join(METHODS)}",
            fix="run `expunge methods` for what each does and needs",
        )
    return METHODS[name]


def settings(chosen: Method) -> dict[str, Any]:
    """The hyper-parameters of a method by name, and the mask that it runs under."""
    if isinstance(chosen, Masked):
        return {**settings(chosen.inner), "mask": chosen.mask}
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
        fix="correct the value",
    )
