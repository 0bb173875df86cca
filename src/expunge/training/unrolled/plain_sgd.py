"""Whether a recipe is plain SGD, as the theory of unrolled training assumes."""

import warnings
from typing import Any

import torch

from expunge.engine.ensemble import Ensemble
from expunge.problem import Recipe


def require_plain(recipe: Recipe, models: Ensemble) -> None:
    """Warn where a recipe is no plain SGD, which the theory of unrolled training assumes."""
    found = departures(recipe, models)
    if found:
        warnings.warn(
            f"the theory of unrolled SGD assumes plain SGD, and this recipe has "
            f"{', '.join(found)}: what follows from it (single-gradient, unlearning error) is a "
            "rule of thumb here",
            stacklevel=3,
        )


def departures(recipe: Recipe, models: Ensemble) -> list[str]:
    """What in a recipe is no plain SGD, in words; empty where nothing is."""
    made: Any = recipe.optimizer(list(models.weights().items()))
    if type(made) is not torch.optim.SGD:
        return [f"the optimizer {type(made).__name__}, which keeps a state"]
    found = []
    for group in made.param_groups:
        found += [
            f"{name.replace('_', ' ')} {group[name]:g}"
            for name in ("momentum", "dampening", "weight_decay")
            if group[name]
        ]
    found += [f"clipping at {recipe.clip:g}"] if recipe.clip is not None else []
    found += ["an average of weights (ema)"] if recipe.ema is not None else []
    return list(dict.fromkeys(found))
