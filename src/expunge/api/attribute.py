"""attribute(): fit half-data models once, for any later forget set."""

from pathlib import Path

from expunge import store
from expunge.api.require_fit import require_recipe_fit
from expunge.attribution.file import write
from expunge.attribution.fit import Fit, fit
from expunge.attribution.registry import from_halves
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem
from expunge.training.from_recipe import require_training
from expunge.training.model_cache import ModelCache


def attribute(
    problem: Problem, *, out: Path | str, runtime: Runtime, kind: str = "combined", models: int
) -> Fit:
    """Train half-data models, or find them in the store, and write them into one file.

    `forget(..., method="dmm", attribution=FILE)` then serves any forget set without training.

    Args:
        problem: with a recipe; rows that it forgets play no part.
        out: the file.
        runtime: store, seed, processes, device; a killed run resumes.
        kind: the attribution that the file is used by; the half-data models are the same.
        models: how many.

    Returns:
        What was fitted, and what one model cost.

    Raises:
        BadInput: a kind that needs no fitting; fewer than 20 models; a folder that cannot be
            written; no recipe, or one whose models do not fit the problem.
    """
    if not from_halves(kind):
        raise BadInput(
            f"attribution '{kind.partition(':')[0]}' has nothing to fit: it reads the model itself "
            "at each request",
            expected="a kind that is made from half-data models, such as datamodels",
            fix=f"use it at once: expunge forget --method dmm --attribution {kind}",
        )
    require_training(problem, "train half-data models")
    out = Path(out)
    store.require_writable(out.parent)
    cache = ModelCache(problem, runtime)
    require_recipe_fit(cache)
    made = fit(cache, models)
    write(out, cache, made, kind)
    return made
