"""Any method, on the weights alone that matter most to the forgotten rows."""

from dataclasses import dataclass, replace
from typing import Any

from expunge.curvature.saliency import saliency_mask
from expunge.engine.cost import Cost
from expunge.engine.descend import frozen_weights
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.method import Claim, Method, MethodInputs, Result, unchanged
from expunge.problem import Problem


@dataclass(frozen=True)
class Masked:
    """A method under a saliency mask of its own making; it goes by the method's name.

    Cost: that of the method, and 3 x |F| row units for the mask.
    """

    inner: Method
    share: float  # of all weights that may move

    @property
    def name(self) -> str:
        """The inner method's."""
        return self.inner.name

    @property
    def source(self) -> str:
        """Of the method and of the mask."""
        return f"{self.inner.source}; mask: Fan et al. 2024, arXiv 2310.12508"

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
        return f"saliency:{self.share:g}"

    def __call__(
        self,
        problem: Problem,
        models: Ensemble,
        inputs: MethodInputs = MethodInputs(),
        *,
        seed: int,
    ) -> Result:
        """See `Method`; with a mask of the caller's, only weights that both let go may move."""
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        both, cost = salient(problem, models, inputs, self.share)
        result = self.inner(problem, models, both, seed=seed)
        return replace(result, cost=result.cost + cost)

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return self.inner.price(problem) + Cost(len(problem.forget), len(problem.forget))


def masked(method: Method, mask: str) -> Method:
    """The method under the mask of this name; "" leaves it as it is.

    Args:
        method: any method that honours masks.
        mask: "saliency:SHARE", the share of the weights that may move.

    Raises:
        BadInput: an unknown mask, a share outside (0, 1], or a method that moves no weights of the
            model it is given.
    """
    if not mask:
        return method
    kind, _, share = mask.partition(":")
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    if kind != "saliency" or not 0 < number <= 1:
        raise BadInput(
            f"mask '{mask}'",
            expected="saliency:SHARE with the share of weights that may move, above 0, at most 1",
            fix="write saliency:0.5",
        )
    if method.claim in (Claim.EXACT, Claim.OUTPUTS_ONLY):
        raise BadInput(
            f"a mask for {method.name}, which does not move the weights it is given",
            expected="a method that edits or fine-tunes the model",
            fix="leave the mask out",
        )
    made: Any = Masked(method, number)  # its names are properties, not class attributes
    return made


def salient(
    problem: Problem, models: Ensemble, inputs: MethodInputs, share: float
) -> tuple[MethodInputs, Cost]:
    """What is given, its mask narrowed to the weights that matter most; and the cost of that.

    Only weights that both masks let go may move; a parameter that the caller's does not name is as
    in the saliency mask.

    Raises:
        BadInput: before any work, a mask of the caller's that does not fit the models.
    """
    frozen_weights(models, inputs.mask)
    mask, cost = saliency_mask(problem, models, share)
    for name, may_move in (inputs.mask or {}).items():
        mask[name] = mask[name] & may_move.to(mask[name].device)
    return replace(inputs, mask=mask), cost
