"""The table of all methods: a new one is a file and a line here, or an entry point elsewhere."""

from dataclasses import fields
from typing import Any

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
from expunge.methods.masked import MASKS, Mask, Masked, masked
from expunge.methods.method import Claim, Method, MethodInputs, Result
from expunge.methods.oracle_matching import OracleMatching
from expunge.methods.random_label import RandomLabel
from expunge.methods.retrain import Retrain
from expunge.methods.salun import SalUn
from expunge.methods.salun_soft import SalUnSoft
from expunge.methods.scrub import SCRUB
from expunge.methods.single_gradient import SingleGradient
from expunge.methods.ssd import SSD
from expunge.methods.uniform_label import UniformLabel
from expunge.methods.validate_class import validate_class
from expunge.registry import Registry

METHODS: Registry[Method] = Registry(
    "method",
    Retrain,
    FineTune,
    GradientAscent,
    AscentDescent,
    RandomLabel,
    UniformLabel,
    L1Sparse,
    SalUn,
    SalUnSoft,
    SCRUB,
    BadTeacher,
    BoundaryShrink,
    BoundaryExpand,
    Influence,
    FisherForgetting,
    SSD,
    SingleGradient,
    Amnesiac,
    OracleMatching,
    DMDirect,
    DMM,
    faults=validate_class,
)

__all__ = [
    "MASKS",
    "METHODS",
    "Claim",
    "Mask",
    "Method",
    "MethodInputs",
    "Result",
    "masked",
    "method",
    "settings",
]


def method(name: str, **chosen: Any) -> Method:
    """The method of this name with these settings, see `Registry.make`; values may be text."""
    return METHODS.make(name, chosen)


def settings(chosen: Method) -> dict[str, Any]:
    """The hyper-parameters of a method by name, and the mask that it runs under."""
    if isinstance(chosen, Masked):
        return {**settings(chosen.inner), "mask": chosen.mask}
    return {field.name: getattr(chosen, field.name) for field in fields(chosen)}  # type: ignore[arg-type]
