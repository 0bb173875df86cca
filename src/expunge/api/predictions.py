"""The changes that attributions predict for the methods of one request, each made once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.api.needs import attribution_name
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.fit import Fit
from expunge.attribution.registry import (
    ATTRIBUTIONS,
    MODELS,
    VERSION,
    attributor,
    from_halves,
    whole_table,
)
from expunge.attribution.split_half import SplitHalf
from expunge.attribution.weight_step import WeightStepAttribution
from expunge.data.progress import with_progress
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Change, ChangeTable
from expunge.methods import Method
from expunge.problem import Problem
from expunge.store import Store


@dataclass(frozen=True)
class Prediction:
    """The change that one attribution predicts for one forget set, of whichever models.

    Attributes:
        problem: with the rows to forget.
        named: as `ATTRIBUTIONS.read` takes it.
        fitted: half-data models, where it is made from them.
        seed: of its draws.
        table: the change of every row, where it is the same for all models.
        measured: what the half-data models say of the forget set, where each model's own
            prediction is made with it.
    """

    problem: Problem
    named: str
    fitted: Fit | None
    seed: int
    table: ChangeTable | None = None
    measured: SplitHalf | None = None

    def on(
        self,
        models: Ensemble,
        keep: tuple[Store, str] | None = None,
        progress: bool = False,
    ) -> Callable[[str, Tensor], Change]:
        """The predicted change of rows of a split, for these models.

        Args:
            models: as they are before anything is forgotten.
            keep: a store and a key that says which models they are, where what is found of each
                model is kept for other settings of a method.
            progress: look at the models now, and show a bar of the rows that are read.
        """
        if self.table is not None:
            return self.table
        halves = self.fitted and self.fitted.halves
        found: Any = attributor(self.named, self.problem, models, halves, self.seed)
        forget = self.problem.forget
        if isinstance(found, Datamodels) and self.measured is not None:
            found.remember(self.measured)
        if keep is not None:
            _remember(found, forget, *keep)
        if progress:
            _follow(found, forget)
        return lambda split, rows: found.without(forget, rows.cpu(), split)

    @property
    def digest(self) -> str:
        """What decides the prediction, for keys."""
        if self.table is not None:
            parts = {name: part.mean.float() for name, part in self.table.splits.items()}
            return store.digest(parts)
        halves = self.fitted and store.digest({"rows": self.fitted.halves.rows})
        kind, chosen = ATTRIBUTIONS.read(self.named)
        defaults = {s.name: s.default for s in ATTRIBUTIONS.settings(kind)}
        whole = {**defaults, **chosen, "version": VERSION}
        return f"{kind} {whole} {halves or ''} {self.seed}"


@dataclass(frozen=True)
class Predictions:
    """The predicted changes that the methods of one request need, each made once."""

    problem: Problem
    fitted: Fit | None
    seed: int
    _made: dict[str, Prediction] = field(default_factory=dict, repr=False)
    _measured: dict[tuple[int, int], SplitHalf] = field(default_factory=dict, repr=False)

    def of(self, method: Method) -> Prediction | None:
        """What is predicted for this method; None where it needs no prediction."""
        named = attribution_name(method)
        if named and named not in self._made:
            self._made[named] = self._make(named)
        return self._made[named] if named else None

    def _make(self, named: str) -> Prediction:
        if not from_halves(named):
            return Prediction(self.problem, named, None, self.seed)
        assert self.fitted is not None, "made before: Needs"
        if not whole_table(named):
            measured = self._repeats(named)
            return Prediction(self.problem, named, self.fitted, self.seed, measured=measured)
        found: Any = attributor(named, self.problem, None, self.fitted.halves, self.seed)
        everything = {name: torch.arange(len(data)) for name, data in self.problem.splits.items()}
        # entries of rows that were not present mean nothing
        table = ChangeTable(found.changes(self.problem.forget, everything))
        return Prediction(self.problem, named, self.fitted, self.seed, table)

    def _repeats(self, named: str) -> SplitHalf | None:
        """Once for all methods that ask as many half-data models."""
        assert self.fitted is not None, "made before: Needs"
        found = attributor(named, self.problem, None, self.fitted.halves, self.seed)
        if not isinstance(found, Datamodels):
            return None
        asked = ATTRIBUTIONS.read(named)[1].get(MODELS, 0), found.shuffles
        if asked not in self._measured:
            self._measured[asked] = found.repeats(self.problem.forget)
        return self._measured[asked]


def _follow(found: Any, forget: Tensor) -> None:
    """Let an attributor find its changes of the models' weights, and show how far it is."""
    own = _stepped(found)
    if own is None:
        return
    total = len(own.models) * replace(own, problem=own.problem.forgetting(forget)).reads()
    with with_progress(own.problem.train, "Attribution, rows", total, True) as train:
        own.remember(forget, replace(own, problem=replace(own.problem, train=train)).steps(forget))


def _stepped(found: Any) -> Any:
    """The part of an attributor that changes the models' weights; None where there is none."""
    own = found.base if isinstance(found, Datamodels) else found
    return own if isinstance(own, WeightStepAttribution) else None


def _remember(found: Any, forget: Tensor, kept: Store, models: str) -> None:
    """Let an attributor find its changes of these models' weights in a store, or put them there."""
    own = _stepped(found)
    if own is None:
        return
    settings = repr(replace(own, problem=None, models=None))  # type: ignore[arg-type]
    asked = {"settings": settings, "models": models, "version": VERSION}
    key = store.key("steps", forget=forget.tolist(), **asked)
    kept_before = kept.load(key)
    if kept_before is None:
        steps = own.steps(forget)
        joined = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
        kept.save(key, joined, asked)
        return
    tensors = {name: t.to(own.models.device) for name, t in kept_before.tensors.items()}
    members = range(len(own.models))
    own.remember(forget, [{name: t[k] for name, t in tensors.items()} for k in members])
