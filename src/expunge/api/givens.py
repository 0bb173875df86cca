"""What methods need, made once: teachers for oracle matching, predicted changes for DMM."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from expunge.api.facts import shared_facts
from expunge.attribution.fit import Fit, find, fit
from expunge.ensemble import ChangeTable
from expunge.errors import BadInput
from expunge.loop import Cost
from expunge.maker import Maker
from expunge.methods import Method
from expunge.problem import Problem
from expunge.train import require_recipe, retrain_units

HALF_MODELS = 1000


@dataclass(frozen=True)
class Needs:
    """Which costly things the chosen methods need."""

    teachers: bool
    change: bool

    @classmethod
    def of(cls, problem: Problem, methods: Iterable[Method]) -> "Needs":
        """Check before any work that the problem can serve these methods.

        Raises:
            BadInput: a method needs a recipe (to retrain, to make teachers or half-data models)
                and the problem has none.
        """
        methods = list(methods)
        for method in methods:
            if method.needs:
                require_recipe(problem, f"run {method.name}")
        return cls(
            teachers=any("teachers" in method.needs for method in methods),
            change=any("change" in method.needs for method in methods),
        )

    def counts(self, maker: Maker, members: int, half_models: int) -> dict[str, int]:
        """Models to be trained for them, by role."""
        counts = {"teacher": members} if self.teachers else {}
        if self.change and find(maker, half_models) is None:
            counts["subset"] = half_models
        return counts


def change_table(problem: Problem, fitted: Fit) -> ChangeTable:
    """The predicted change of every row of every split for this forget set.

    Half-data models read only rows that were present; the entries of other rows mean nothing.
    """
    return ChangeTable(
        {
            name: fitted.attribution.without(problem.forget, torch.arange(len(data)), name)
            for name, data in problem.splits.items()
        }
    )


def attribution_of(maker: Maker, half_models: int) -> tuple[ChangeTable, Fit]:
    """The predicted changes for the maker's forget set, from a new or an earlier fit."""
    fitted = fit(maker, half_models)
    return change_table(maker.problem, fitted), fitted


def shared_cost(problem: Problem, method: Method, half_models: int, one: Cost | None) -> Any:
    """The cost that a method's needs add for one model, as audit.json has it; None if none.

    Args:
        problem: for the price of one retraining.
        method: whose needs are priced.
        half_models: how many, where it needs a predicted change.
        one: what one half-data model cost, or None: its price by the recipe.
    """
    own = method.price(problem)
    if "teachers" in method.needs:
        return shared_facts(
            "1 teacher for each model", retrain_units(problem) or 0, own, problem, False
        )
    if "change" in method.needs:
        units = half_models * (half_units(problem) if one is None else one.row_units)
        return shared_facts(f"{half_models:,} half-data models", units, own, problem, True)
    return None


def half_units(problem: Problem) -> int:
    """Row units of training one half-data model."""
    passes = getattr(problem.recipe, "epochs", None)
    if passes is None:
        raise BadInput(
            "the Trainer does not say how many epochs it trains",
            expected="its attribute `epochs`",
            cure="set it once: train.epochs = 20",
        )
    return 3 * passes * (len(problem.present_rows) // 2)
