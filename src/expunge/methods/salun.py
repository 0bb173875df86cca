"""Random labels for the forgotten rows, on the weights that matter most to them (SalUn).

Source: Fan et al. 2024, "SalUn: Empowering Machine Unlearning via Gradient-based Weight
Saliency", arXiv 2310.12508. Differs: masked weights stay bit-identical; until 2026 the released
code masked only gradients, so that weight decay moved them (`legacy`). Batch-norm buffers move.
The mask is made of rows without augmentation (`curvature/saliency.py`); see `random_label.py` for
the rest. Cost: that of random-label, and 3 x |F| row units for the mask.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from expunge.engine.cost import Cost
from expunge.engine.descend import frozen_weights, restore
from expunge.engine.ensemble import Ensemble
from expunge.methods.finetune import mask_of
from expunge.methods.masked import Saliency, narrowed
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result, unchanged
from expunge.methods.random_label import RandomLabel
from expunge.problem import Problem
from expunge.registry import setting


@dataclass(frozen=True)
class SalUn(RandomLabel):
    """Relabel the forgotten rows, moving only the weights that their loss depends on most."""

    name: ClassVar[str] = "salun"
    source: ClassVar[str] = "Fan et al. 2024, arXiv 2310.12508"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    short: ClassVar[dict[str, Any]] = {"share": 0.9}

    share: float = setting(
        0.5, "share of the weights that may move", typical="0.1 to 0.9", least=1e-9, most=1
    )
    legacy: bool = setting(
        False, "as published code before 2026: weight decay and momentum move masked weights"
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`; with a mask of the caller's, only weights that both let go may move."""
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        both, cost = narrowed(problem, models, inputs, Saliency(self.share))

        def kept(before: Ensemble) -> Callable[[int, Ensemble], None]:
            # the published leak is of the saliency mask; the caller's holds in any case
            frozen = frozen_weights(before, mask_of(inputs.mask, models, before))
            return lambda step, models: restore(models.weights(), frozen)

        after = kept if self.legacy else None
        result = self.relabelled(
            problem, models, both, seed=seed, strict=not self.legacy, after=after
        )
        return replace(result, cost=result.cost + cost)

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return super().price(problem) + Cost(len(problem.forget), len(problem.forget))
