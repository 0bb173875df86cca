"""Forget training rows of a PyTorch model, and show with evidence how well it worked."""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import lazy_loader

__version__ = "0.1.0"

# The public names stand in __init__.pyi; each is imported when first used, so that
# `expunge --help` need not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


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
