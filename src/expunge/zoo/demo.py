"""The demo: one unusual way of writing a seven, forgotten by eight methods at one setting each.

Each method runs at its best setting of a grid with as many trials for each
(`benchmarks/demo/grid.py`), at no more than a quarter of one retraining; those of the matching
methods are their defaults.
"""

from pathlib import Path
from typing import Any

from expunge.api.compare import compare
from expunge.fanout.runtime import Runtime
from expunge.methods import Method, method
from expunge.problem import Problem
from expunge.zoo.digits import digits, pictures, unusual_handwriting

METHODS = (
    *("retrain", "fine-tune", "gradient-ascent", "ascent-descent", "random-label"),
    *("oracle-matching", "dm-direct", "dmm"),
)
SETTINGS: dict[str, dict[str, Any]] = {  # where the best on digits are not the defaults
    "fine-tune": {"epochs": 2, "lr": 0.003},
    "gradient-ascent": {"epochs": 10, "lr": 0.001},
    "ascent-descent": {"epochs": 1, "lr": 0.001},
    "random-label": {"epochs": 1, "lr": 0.00003},
    "dm-direct": {"attribution": "combined"},
    "dmm": {"attribution": "combined"},
}


def demo_problem() -> Problem:
    """Digits without 30 sevens at one end of their first principal component."""
    problem = digits()
    return problem.forgetting(unusual_handwriting(problem))


def demo_methods() -> dict[str, Method]:
    """The demo's methods at their documented settings for this problem."""
    return {name: method(name, **SETTINGS.get(name, {})) for name in METHODS}


def run_demo(
    out: Path, runtime: Runtime, *, members: int, half_models: int = 1000, command: str = ""
) -> dict[str, Any]:
    """Forget with each of them and judge; returns the content of audit.json."""
    problem = demo_problem()
    return compare(
        problem,
        demo_methods(),
        out=out,
        runtime=runtime,
        members=members,
        half_models=half_models,
        pictures=pictures(problem, problem.forget),
        command=command,
    )
