"""The table of benchmark problems: a new one is a function and a line here."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from expunge.errors import BadInput, nearest
from expunge.problem import Problem
from expunge.zoo.cifar10 import cifar10
from expunge.zoo.digits import digits
from expunge.zoo.fashion import fashion

PROBLEMS: dict[str, Callable[..., Problem]] = {
    "digits": digits,
    "fashion": partial(fashion, "conv"),
    "fashion-mlp": partial(fashion, "mlp"),
    "cifar10": partial(cifar10, "resnet18"),
    "cifar10-resnet9": partial(cifar10, "resnet9"),
}


def problem(name: str, data: Path | str | None = None, **options: Any) -> Problem:
    """The problem of this name, without rows to forget.

    Args:
        name: one of PROBLEMS.
        data: the data folder, default the one that EXPUNGE_DATA names; digits needs none.
        options: of the problem's function, e.g. rows=500 for a trial.

    Raises:
        BadInput: an unknown name or option, with the nearest known one; whatever the function
            raises.
    """
    if name not in PROBLEMS:
        raise BadInput(
            f"unknown problem '{name}'{nearest(name, PROBLEMS)}",
            expected=f"one of {', '.join(PROBLEMS)}",
            cure="correct the name",
        )
    known = set(inspect.signature(PROBLEMS[name]).parameters)
    for option in options:
        if option not in known - {"data"}:
            others = sorted(known - {"data"})
            raise BadInput(
                f"{name} has no option '{option}'{nearest(option, others)}",
                expected=f"one of {', '.join(others)}" if others else "no options at all",
                cure="correct the option, or leave it out",
            )
    return PROBLEMS[name](**({"data": data} if "data" in known else {}), **options)
