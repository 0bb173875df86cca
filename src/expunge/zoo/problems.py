"""The table of benchmark problems: a new one is a function and a line here."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from expunge.errors import BadInput, nearest
from expunge.problem import Problem, Recipe
from expunge.problem.sd_penalty import SDPenalty
from expunge.zoo.cifar10 import cifar10
from expunge.zoo.cifar100 import cifar100
from expunge.zoo.digits import digits
from expunge.zoo.fashion import fashion
from expunge.zoo.imdb import imdb

PROBLEMS: dict[str, Callable[..., Problem]] = {
    "digits": digits,
    "fashion": partial(fashion, "conv"),
    "fashion-mlp": partial(fashion, "mlp"),
    "cifar10": partial(cifar10, "resnet18"),
    "cifar10-resnet9": partial(cifar10, "resnet9"),
    "cifar10-small": partial(cifar10, "small"),
    "cifar100-small": cifar100,
    "imdb": imdb,
}


def problem(name: str, data: Path | str | None = None, **options: Any) -> Problem:
    """The problem of this name, without rows to forget.

    Args:
        name: one of PROBLEMS.
        data: the data folder, default the one that EXPUNGE_DATA names; digits needs none.
        options: of the problem's function, e.g. rows=500 for a trial; and of every problem
            `gamma`, that of an SD penalty in the paper's scaling, 0 = none.

    Raises:
        BadInput: an unknown name or option, with the nearest known one; a gamma below zero or not
            finite; whatever the function raises.
    """
    if name not in PROBLEMS:
        raise BadInput(
            f"unknown problem '{name}'{nearest(name, PROBLEMS)}",
            expected=f"one of {', '.join(PROBLEMS)}",
            fix="correct the name",
        )
    known = set(inspect.signature(PROBLEMS[name]).parameters)
    penalty = SDPenalty(options.pop("gamma", 0.0))
    others = sorted(known - {"data"} | {"gamma"})
    for option in options:
        if option not in others:
            raise BadInput(
                f"{name} has no option '{option}'{nearest(option, others)}",
                expected=f"one of {', '.join(others)}",
                fix="correct the option, or leave it out",
            )
    made = PROBLEMS[name](**({"data": data} if "data" in known else {}), **options)
    return _penalised(made, penalty) if penalty.gamma else made


def _penalised(made: Problem, penalty: SDPenalty) -> Problem:
    """The problem trained with this penalty, which its name says."""
    assert isinstance(made.recipe, Recipe)  # every problem of the table has one
    recipe = replace(made.recipe, penalty=penalty)
    return replace(made, recipe=recipe, name=f"{made.name}, SD penalty {penalty.gamma:g}")
