"""The tasks by name."""

from typing import Any

from expunge.problem.task import Classification, Regression, Task, TextClassification
from expunge.registry import Fault, Registry


def _faults(kind: Any) -> list[Fault]:
    if isinstance(kind, type) and issubclass(kind, Task):
        return []
    return [Fault("it is no Task", "Write class Mine(expunge.Task)")]


TASKS: Registry[Task] = Registry(
    "task", Classification, TextClassification, Regression, faults=_faults
)
