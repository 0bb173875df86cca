"""Forget training rows of a PyTorch model, and show with evidence how well it worked."""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from expunge.api.attribute import attribute as attribute
    from expunge.api.audit import audit as audit
    from expunge.api.audit import audit_evidence as audit_evidence
    from expunge.api.compare import compare as compare
    from expunge.api.estimate import estimate as estimate
    from expunge.api.forget import Forgotten as Forgotten
    from expunge.api.forget import forget as forget
    from expunge.api.trained import Trained as Trained
    from expunge.api.trained import train_model as train_model
    from expunge.api.unrolling import unrolling as unrolling
    from expunge.api.verify import verify as verify
    from expunge.data import DatasetData as DatasetData
    from expunge.data import TensorData as TensorData
    from expunge.errors import BadInput as BadInput
    from expunge.mapped import MappedData as MappedData
    from expunge.methods import METHODS as METHODS
    from expunge.methods import method as method
    from expunge.padding import Padding as Padding
    from expunge.penalty import SDPenalty as SDPenalty
    from expunge.problem import Problem as Problem
    from expunge.recipe import Recipe as Recipe
    from expunge.store import Store as Store
    from expunge.task import Classification as Classification
    from expunge.task import Regression as Regression
    from expunge.task import TextClassification as TextClassification
    from expunge.workshop import Workshop as Workshop

# Imported when first used, so that `expunge --help` need not wait for torch.
_WHERE = {
    "attribute": "expunge.api.attribute",
    "audit_evidence": "expunge.api.audit",
    "compare": "expunge.api.compare",
    "estimate": "expunge.api.estimate",
    "Forgotten": "expunge.api.forget",
    "forget": "expunge.api.forget",
    "Trained": "expunge.api.trained",
    "train_model": "expunge.api.trained",
    "unrolling": "expunge.api.unrolling",
    "verify": "expunge.api.verify",
    "DatasetData": "expunge.data",
    "TensorData": "expunge.data",
    "BadInput": "expunge.errors",
    "MappedData": "expunge.mapped",
    "METHODS": "expunge.methods",
    "method": "expunge.methods",
    "SDPenalty": "expunge.penalty",
    "Padding": "expunge.padding",
    "Problem": "expunge.problem",
    "Recipe": "expunge.recipe",
    "Store": "expunge.store",
    "Classification": "expunge.task",
    "Regression": "expunge.task",
    "TextClassification": "expunge.task",
    "Workshop": "expunge.workshop",
}
__all__ = ["__version__", "audit", *_WHERE]  # pyright: ignore


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'expunge' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


class _Package(ModuleType):
    """`expunge.audit` is what a user calls, and also a room of this package.

    Importing anything from the room would hang the room under that name; here the function stays.
    """

    @property
    def audit(self) -> Callable[..., dict[str, Any]]:
        return import_module("expunge.api.audit").audit

    @audit.setter
    def audit(self, room: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
