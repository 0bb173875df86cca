"""Which costly things methods need: teachers, and an attribution, perhaps of half-data models."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.attribution.damping import recipe_of
from expunge.attribution.file import read
from expunge.attribution.fit import Fit, find, require_models_for
from expunge.attribution.registry import ATTRIBUTIONS, damped, from_halves
from expunge.methods import Method, settings
from expunge.problem import Problem
from expunge.training.from_recipe import require_training
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History

HALF_MODELS = 1000


@dataclass(frozen=True)
class Needs:
    """Which costly things the chosen methods need."""

    teachers: bool
    halves: bool

    @classmethod
    def of(cls, problem: Problem, methods: Iterable[Method]) -> "Needs":
        """Check before any work that the problem can serve these methods.

        Raises:
            BadInput: a method needs a recipe (to retrain, to make teachers or half-data models)
                and the problem has none; an unknown attribution.
        """
        methods = list(methods)
        for method in methods:
            if method.needs - {"change"} or needs_halves(method):
                require_training(problem, f"run {method.name}")
            if "history" in method.needs:
                History(problem, (), 0)  # refuses a Trainer
            named = attribution_name(method)
            if named and damped(named):
                recipe_of(problem)
        return cls(
            teachers=any("teachers" in method.needs for method in methods),
            halves=any(needs_halves(method) for method in methods),
        )

    def counts(self, cache: ModelCache, members: int, half_models: int) -> dict[str, int]:
        """Models to be trained for them, by role.

        Raises:
            BadInput: too few half-data models for the problem's forget set.
        """
        counts = {"teacher": members} if self.teachers else {}
        if self.halves and find(cache, half_models) is None:
            require_models_for(cache, half_models)
            counts["subset"] = half_models
        return counts


def attribution_name(method: Method) -> str:
    """By which attribution a method's change is predicted; "" where it needs none.

    A method that needs a change says so in its setting `attribution`.
    """
    return settings(method).get("attribution", "linearised") if "change" in method.needs else ""


def needs_halves(method: Method) -> bool:
    """Whether a method's attribution is made from half-data models."""
    named = attribution_name(method)
    return bool(named) and from_halves(named)


def from_file(method: Method, cache: ModelCache) -> tuple[Method, Fit | None]:
    """The method with its attribution by name, and the half-data models if it named a file.

    Raises:
        BadInput: see `attribution.file.read`.
    """
    named = attribution_name(method)
    path = Path(named)
    looks = path.exists() or path.suffix == ".zip" or path.name != named
    if not named or named.partition(":")[0] in ATTRIBUTIONS or not looks:
        return method, None
    found, kind = read(path, cache)
    return replace(method, attribution=kind), found  # type: ignore[type-var]
