"""What a method's needs cost beside the method itself: teachers, attributions, half-data models."""

from typing import Any

from expunge.api.needs import attribution_name
from expunge.api.provenance import shared_facts
from expunge.attribution.registry import (
    ATTRIBUTIONS,
    MODELS,
    from_halves,
    from_models,
    price,
)
from expunge.engine.cost import Cost
from expunge.errors import BadInput
from expunge.methods import Method
from expunge.problem import Problem
from expunge.training.from_recipe import retrain_units


def shared_cost(problem: Problem, method: Method, half_models: int, one: Cost | None) -> Any:
    """The cost that a method's needs add for one model, as audit.json has it; None if none.

    Args:
        problem: for the price of one retraining.
        method: whose needs are priced.
        half_models: how many there are, where its attribution is made from them; 0: none to pay.
        one: what one half-data model cost, or None: its price by the recipe.
    """
    own = method.price(problem)
    if "teachers" in method.needs:
        return shared_facts(
            "1 teacher for each model", retrain_units(problem) or 0, own, problem, False
        )
    named = attribution_name(method)
    if not named:
        return None
    solved = 0
    if from_models(named):
        solved = price(named, problem, _asked(method, problem)).row_units
    if not from_halves(named):
        return shared_facts(f"{named} attribution of this forget set", solved, own, problem, False)
    half_models = min(half_models, ATTRIBUTIONS.read(named)[1].get(MODELS) or half_models)
    units = half_models * (half_units(problem) if one is None else one.row_units)
    return shared_facts(f"{half_models:,} half-data models", units + solved, own, problem, True)


def half_units(problem: Problem) -> int:
    """Row units of training one half-data model."""
    passes = problem.training.epochs
    if passes is None:
        raise BadInput(
            "the Trainer does not say how many epochs it trains",
            expected="its attribute `epochs`",
            fix="set it once: train.epochs = 20",
        )
    return 3 * passes * (len(problem.present_rows) // 2)


def _asked(method: Method, problem: Problem) -> int:
    """Rows whose change a method asks for: those it reads forward only, for their targets."""
    price = method.price(problem)
    return price.forward_rows - price.backward_rows
