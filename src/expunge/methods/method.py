"""What a method is: its needs, its claim, what it is given and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Protocol

from torch import Tensor

from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble, Models, StorableModels
from expunge.engine.shifted import Change
from expunge.problem import Problem
from expunge.training.unrolled.history import History


class Claim(StrEnum):
    """What a method promises about its result, from strongest to weakest."""

    EXACT = "exact"  # the result is a model that was never trained on the rows
    EXACT_BY_SHARD = "exact by shard"
    CERTIFIED = "certified"
    APPROXIMATE = "approximate"
    OUTPUTS_ONLY = "outputs only"  # the weights still hold the rows; only answers are corrected


@dataclass(frozen=True)
class MethodInputs:
    """What a method is handed; it never makes or imports these."""

    change: Callable[[str, Tensor], Change] | None = None  # predicted change of the outputs
    teachers: Models | None = None  # oracles that the audit does not use
    # by parameter name; True = may move; the parameter's shape, or one mask a member before it
    mask: dict[str, Tensor] | None = None
    # of a group as it was: looks on while the group descends, see `descend`; not at edits
    watch: Callable[[Ensemble], Callable[[int, Ensemble], None]] | None = None
    history: History | None = None  # how the models arose


NO_INPUTS = MethodInputs()  # a default value


@dataclass(frozen=True)
class Result:
    """What a method returns."""

    models: Models
    cost: Cost  # of one model
    changed: float  # largest absolute change of a weight
    reason: str = ""  # why nothing changed, where nothing had to
    # what the claim rests on: eps, delta, assumptions, budget spent, what is left out
    claim_detail: Mapping[str, str | float] = field(default_factory=dict)


class Method(Protocol):
    """A frozen dataclass; its fields are numbers, strings or booleans.

    The fields become flags of the command line, documentation and part of the store's key. Three
    more attributes are optional: `forwards`, passes forward through a batch that it reads;
    `any_models`, True where it takes whatever a training makes, and not ensembles alone;
    `require(problem)`, which raises BadInput where the problem does not fit, before any work.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    claim: ClassVar[Claim]
    # of {"recipe", "change", "teachers", "history"}: checked before any work
    needs: ClassVar[frozenset[str]]

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """Models without `problem.forget`; nothing passed in is changed."""
        ...

    def price(self, problem: Problem) -> Cost:
        """What a call will read for one model, in rows, before any work (seconds 0)."""
        ...


def unchanged(models: Ensemble, reason: str) -> Result:
    """The models as they are, with the reason why."""
    return Result(models, Cost(), 0.0, reason)


def largest_change(before: StorableModels, after: StorableModels) -> float:
    """The largest absolute change of a trainable weight; moved buffers do not count."""
    old, new = before.tensors(), after.tensors()
    trainable = list(new)
    if isinstance(after, Ensemble):
        trainable = [name for name, p in after.template.named_parameters() if p.requires_grad]
    return max(float((new[n].cpu() - old[n].cpu()).abs().max()) for n in trainable)
