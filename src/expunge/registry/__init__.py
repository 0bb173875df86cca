"""What is chosen by name: registries with entry points, and settings that are declared once."""

from expunge.registry.faults import Fault, class_faults, takes
from expunge.registry.registry import Registry
from expunge.registry.setting import REQUIRED, Setting, check, described, setting

__all__ = [
    "REQUIRED",
    "Fault",
    "Registry",
    "Setting",
    "check",
    "class_faults",
    "described",
    "setting",
    "takes",
]
