"""What methods need, made once: teachers for oracle matching, predicted changes for DMM."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.api.facts import shared_facts
from expunge.attribution.damping import recipe_of
from expunge.attribution.file import read
from expunge.attribution.fit import Fit, find
from expunge.attribution.kinds import (
    KINDS,
    MODELS,
    VERSION,
    attributor,
    damped,
    from_halves,
    from_models,
    parse,
    price,
    settings_of,
    whole_table,
)
from expunge.attribution.linearised import Linearised
from expunge.ensemble import Change, ChangeTable, Ensemble
from expunge.errors import BadInput
from expunge.loop import Cost
from expunge.maker import Maker
from expunge.methods import Method, settings
from expunge.problem import Problem
from expunge.store import Store
from expunge.train import require_recipe, retrain_units

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
                require_recipe(problem, f"run {method.name}")
            named = attribution_name(method)
            if named and damped(named):
                recipe_of(problem)
        return cls(
            teachers=any("teachers" in method.needs for method in methods),
            halves=any(needs_halves(method) for method in methods),
        )

    def counts(self, maker: Maker, members: int, half_models: int) -> dict[str, int]:
        """Models to be trained for them, by role."""
        counts = {"teacher": members} if self.teachers else {}
        if self.halves and find(maker, half_models) is None:
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


def from_file(method: Method, maker: Maker) -> tuple[Method, Fit | None]:
    """The method with its attribution by name, and the half-data models if it named a file.

    Raises:
        BadInput: see `attribution.file.read`.
    """
    named = attribution_name(method)
    path = Path(named)
    looks = path.exists() or path.suffix == ".zip" or path.name != named
    if not named or named.partition(":")[0] in KINDS or not looks:
        return method, None
    found, kind = read(path, maker)
    return replace(method, attribution=kind), found  # type: ignore[type-var]


@dataclass(frozen=True)
class Prediction:
    """The change that one attribution predicts for one forget set, of whichever models.

    Attributes:
        problem: with the rows to forget.
        named: as `kinds.parse` takes it.
        fitted: half-data models, where it is made from them.
        seed: of its draws.
        table: the change of every row, where it is the same for all models.
    """

    problem: Problem
    named: str
    fitted: Fit | None
    seed: int
    table: ChangeTable | None

    def on(
        self, models: Ensemble, keep: tuple[Store, str] | None = None
    ) -> Callable[[str, Tensor], Change]:
        """The predicted change of rows of a split, for these models.

        Args:
            models: as they are before anything is forgotten.
            keep: a store and a key that says which models they are, where what is found of each
                model is kept for other settings of a method.
        """
        if self.table is not None:
            return self.table
        halves = self.fitted and self.fitted.halves
        found: Any = attributor(self.named, self.problem, models, halves, self.seed)
        forget = self.problem.forget
        own = getattr(found, "around", found)
        if keep is not None and isinstance(own, Linearised):
            _remember(own, forget, *keep)
        return lambda split, rows: found.without(forget, rows.cpu(), split)

    @property
    def digest(self) -> str:
        """What decides the prediction, for keys."""
        if self.table is not None:
            parts = {name: part.mean.float() for name, part in self.table.splits.items()}
            return store.digest(parts)
        halves = self.fitted and store.digest({"rows": self.fitted.halves.rows})
        kind, chosen = parse(self.named)
        whole = {**settings_of(kind), **chosen, "version": VERSION}
        return f"{kind} {whole} {halves or ''} {self.seed}"


@dataclass(frozen=True)
class Predictions:
    """The predicted changes that the methods of one request need, each made once."""

    problem: Problem
    fitted: Fit | None
    seed: int
    _made: dict[str, Prediction] = field(default_factory=dict, repr=False)

    def of(self, method: Method) -> Prediction | None:
        """What is predicted for this method; None where it needs no prediction."""
        named = attribution_name(method)
        if named and named not in self._made:
            table = self._table(named) if whole_table(named) else None
            fitted = self.fitted if from_halves(named) else None
            self._made[named] = Prediction(self.problem, named, fitted, self.seed, table)
        return self._made[named] if named else None

    def _table(self, named: str) -> ChangeTable:
        """Of every row of every split; entries of rows that were not present mean nothing."""
        assert self.fitted is not None, "made before: Needs"
        found = attributor(named, self.problem, None, self.fitted.halves, self.seed)
        everything = {name: torch.arange(len(data)) for name, data in self.problem.splits.items()}
        return ChangeTable(found.changes(self.problem.forget, everything))


def shared_cost(problem: Problem, method: Method, half_models: int, one: Cost | None) -> Any:
    """The cost that a method's needs add for one model, as audit.json has it; None if none.

    Args:
        problem: for the price of one retraining.
        method: whose needs are priced.
        half_models: how many, where its attribution is made from them.
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
    half_models = parse(named)[1].get(MODELS) or half_models
    units = half_models * (half_units(problem) if one is None else one.row_units)
    return shared_facts(f"{half_models:,} half-data models", units + solved, own, problem, True)


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


def _remember(own: Linearised, forget: Tensor, kept: Store, models: str) -> None:
    """Let an attributor find its changes of the weights in a store, or put them there."""
    own_settings = repr(replace(own, problem=None, models=None))  # type: ignore[arg-type]
    asked = {"settings": own_settings, "models": models, "version": VERSION}
    key = store.key("steps", forget=forget.tolist(), **asked)
    found = kept.load(key)
    if found is None:
        steps = own.steps(forget)
        joined = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
        kept.save(key, joined, asked)
        return
    device, members = own.models.device, len(own.models)
    own.remember(
        forget,
        [{name: t[k].to(device) for name, t in found.tensors.items()} for k in range(members)],
    )


def _asked(method: Method, problem: Problem) -> int:
    """Rows whose change a method asks for: those it reads forward only, for their targets."""
    price = method.price(problem)
    return price.forward_rows - price.backward_rows
