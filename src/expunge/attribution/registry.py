"""The attributions by name."""

from typing import Any

from expunge.attribution.attribution import Attribution
from expunge.attribution.combined import Combined
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import Difference
from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.lasso import Lasso
from expunge.attribution.linearised import EKFAC, Influence, Linearised
from expunge.attribution.ridge import Ridge
from expunge.attribution.trak import Trak
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.problem import Problem
from expunge.registry import Fault, Registry, Setting, class_faults
from expunge.registry.setting import others

MODELS = "models"  # a setting of all that are made from half-data models
VERSION = 5  # part of keys; to be raised when a change makes predictions differ
INPUTS = frozenset({"problem", "models", "halves", "seed"})
MEMBERS = {
    "without": "def without(self, forget, rows, split='train')",
    "changes": "def changes(self, forget, asked)",
}
PRICE = {"price": "def price(self, rows)"}


class _Attributions(Registry[Attribution]):
    def settings(self, name: str) -> list[Setting]:
        """Also how many half-data models it uses, if it is made from them."""
        fewer = Setting(MODELS, int, 0, "half-data models that it uses; 0: all", least=0)
        halves = "halves" in others(self.named(name))
        return [*([fewer] if halves else []), *super().settings(name)]


def _faults(kind: Any) -> list[Fault]:
    reads_models = "models" in getattr(kind, "__dataclass_fields__", ())
    return class_faults(kind, MEMBERS | (PRICE if reads_models else {}), INPUTS)


ATTRIBUTIONS = _Attributions(
    "attribution",
    *(Linearised, Influence, EKFAC, Trak, Datamodels, Difference, Ridge, Lasso, Combined),
    faults=_faults,
    also=", or a file of `expunge attribute`",
)


def from_halves(named: str) -> bool:
    """Whether an attribution of this name needs half-data models."""
    return "halves" in others(_kind(named))


def from_models(named: str) -> bool:
    """Whether an attribution of this name reads the trained models themselves."""
    return "models" in others(_kind(named))


def price(named: str, problem: Problem, rows: int) -> Cost:
    """What an attribution that reads the model reads of one, for this forget set and so many rows.

    Half-data models are not in it.
    """
    made: Any = attributor(named, problem, None, None, 0)  # models are not looked at for a price
    return made.price(rows)


def whole_table(named: str) -> bool:
    """Whether the change of every row is worth making at once: one for all models, and cheap."""
    return not from_models(named) and getattr(_kind(named), "cheap", True)


def damped(named: str) -> bool:
    """Whether an attribution is damped as the recipe implies."""
    kind, chosen = ATTRIBUTIONS.read(named)
    return getattr(ATTRIBUTIONS[kind], "damped", False) and chosen.get("damping") is None


def attributor(
    named: str, problem: Problem, models: Ensemble | None, halves: HalfDataModels | None, seed: int
) -> Attribution:
    """An attribution by name; what it does not need may be None."""
    kind, chosen = ATTRIBUTIONS.read(named)
    given = {"problem": problem, "models": models, "halves": halves, "seed": seed}
    if from_halves(kind):
        count = chosen.pop(MODELS, 0)
        given["halves"] = None if halves is None else halves.first(count)
    taken = others(ATTRIBUTIONS[kind])
    made: Any = ATTRIBUTIONS[kind]
    return made(**{name: value for name, value in given.items() if name in taken}, **chosen)


def _kind(named: str) -> type[Attribution]:
    return ATTRIBUTIONS[ATTRIBUTIONS.read(named)[0]]
