"""Masks: any method, on some weights alone, such as those that matter most to forgotten rows."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from torch import Tensor

from expunge.curvature.saliency import saliency_mask
from expunge.engine.cost import Cost
from expunge.engine.descend import frozen_weights
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.method import NO_INPUTS, Claim, Method, MethodInputs, Result, unchanged
from expunge.problem import Problem
from expunge.registry import REQUIRED, Fault, Registry, check, class_faults, setting


class Mask(Protocol):
    """Which weights may move; a frozen dataclass of settings."""

    name: ClassVar[str]
    source: ClassVar[str]

    def __call__(self, problem: Problem, models: Ensemble) -> tuple[dict[str, Tensor], Cost]:
        """By parameter name, True = may move; and the cost of one model."""
        ...

    def price(self, problem: Problem) -> Cost:
        """What a call will read for one model, in rows (seconds 0)."""
        ...


@dataclass(frozen=True)
class Saliency:
    """Only the weights move that matter most to the forgotten rows.

    Cost: 3 x |F| row units.
    """

    name: ClassVar[str] = "saliency"
    source: ClassVar[str] = "Fan et al. 2024, arXiv 2310.12508"

    share: float = setting(REQUIRED, "share of the weights that may move", above=0, most=1)

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, problem: Problem, models: Ensemble) -> tuple[dict[str, Tensor], Cost]:
        """See `Mask`."""
        return saliency_mask(problem, models, self.share)

    def price(self, problem: Problem) -> Cost:
        """See `Mask`."""
        return Cost(len(problem.forget), len(problem.forget))


def _faults(kind: Any) -> list[Fault]:
    members = {
        "__call__": "def __call__(self, problem, models)",
        "price": "def price(self, problem)",
    }
    found = class_faults(kind, members)
    if not isinstance(getattr(kind, "source", None), str):
        found.append(Fault("it has no source", 'write source: ClassVar[str] = "Author and year"'))
    return found


MASKS: Registry[Mask] = Registry("mask", Saliency, faults=_faults)


@dataclass(frozen=True)
class Masked:
    """A method under a mask; it goes by the method's name.

    Cost: that of the method, and that of the mask.
    """

    inner: Method
    under: Mask

    @property
    def name(self) -> str:
        """The inner method's."""
        return self.inner.name

    @property
    def source(self) -> str:
        """Of the method and of the mask."""
        return f"{self.inner.source}; mask: {self.under.source}"

    @property
    def claim(self) -> Claim:
        """The inner method's."""
        return self.inner.claim

    @property
    def needs(self) -> frozenset[str]:
        """The inner method's."""
        return self.inner.needs

    @property
    def forwards(self) -> int:
        """The inner method's."""
        return getattr(self.inner, "forwards", 1)

    @property
    def mask(self) -> str:
        """As `masked` takes it."""
        return MASKS.text(self.under)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`; with a mask of the caller's, only weights that both let go may move."""
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        both, cost = narrowed(problem, models, inputs, self.under)
        result = self.inner(problem, models, both, seed=seed)
        return replace(result, cost=result.cost + cost)

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return self.inner.price(problem) + self.under.price(problem)


def masked(method: Method, mask: str) -> Method:
    """The method under the mask of this name; "" leaves it as it is.

    Args:
        method: any method that honours masks.
        mask: of MASKS, e.g. "saliency:SHARE", the share of the weights that may move.

    Raises:
        BadInput: see `Registry.read`; a method that moves no weights of the model it is given.
    """
    if not mask:
        return method
    under = MASKS.make(mask)
    if method.claim in (Claim.EXACT, Claim.OUTPUTS_ONLY):
        raise BadInput(
            f"a mask for {method.name}, which does not move the weights it is given",
            expected="a method that edits or fine-tunes the model",
            fix="leave the mask out",
        )
    made: Any = Masked(method, under)  # its names are properties, not class attributes
    return made


def narrowed(
    problem: Problem, models: Ensemble, inputs: MethodInputs, under: Mask
) -> tuple[MethodInputs, Cost]:
    """The inputs with their mask narrowed by another; and the cost of that.

    Only weights that both masks let go may move; a parameter that the caller's does not name is as
    in the other mask.

    Raises:
        BadInput: before any work, a mask of the caller's that does not fit the models.
    """
    frozen_weights(models, inputs.mask)
    mask, cost = under(problem, models)
    for name, may_move in (inputs.mask or {}).items():
        mask[name] = mask[name] & may_move.to(mask[name].device)
    return replace(inputs, mask=mask), cost
