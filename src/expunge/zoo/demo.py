"""The demo: one unusual way of writing a seven, forgotten by every method at one setting each.

The settings are those that came off best for each method on a grid of equal size
(`benchmarks/demo_grid.py`), at no more than a quarter of one retraining.
"""

from pathlib import Path
from typing import Any

from expunge.api.compare import compare
from expunge.maker import Workshop
from expunge.methods import METHODS, Method, method
from expunge.problem import Problem
from expunge.zoo.digits import digits, pictures, unusual_handwriting

SETTINGS: dict[str, dict[str, Any]] = {}  # where a method's defaults are not the best on digits


def demo_problem() -> Problem:
    """Digits without 30 sevens at one end of their first principal component."""
    problem = digits()
    return problem.forgetting(unusual_handwriting(problem))


def demo_methods() -> dict[str, Method]:
    """Every method at its documented setting for this problem."""
    return {name: method(name, **SETTINGS.get(name, {})) for name in METHODS}


def run_demo(
    out: Path, workshop: Workshop, *, members: int, half_models: int = 1000, command: str = ""
) -> dict[str, Any]:
    """Forget with every method and judge; returns the content of audit.json."""
    problem = demo_problem()
    return compare(
        problem,
        demo_methods(),
        out=out,
        workshop=workshop,
        members=members,
        half_models=half_models,
        pictures=pictures(problem, problem.forget),
        command=command,
    )
