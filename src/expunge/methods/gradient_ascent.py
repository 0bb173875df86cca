"""Climb the loss of the forgotten rows.

Source: the baseline "GA" / "NegGrad", Golatkar et al. 2020, arXiv 1911.04933; Thudi et al. 2022,
arXiv 2109.13398; SGD with momentum 0.9 as in Jia et al. 2023, arXiv 2304.04934. Differs: no weight
decay. Nothing holds the model back, so it diverges at a learning rate that is only a little too
high. Cost: 3 x epochs x |F| row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from expunge.data import Batch
from expunge.engine.ensemble import Ensemble
from expunge.methods.descent import ForgetLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class GradientAscent(ForgetLoss):
    """Ascend the training loss on the forgotten rows alone."""

    name: ClassVar[str] = "gradient-ascent"
    source: ClassVar[str] = (
        "Golatkar et al. 2020, arXiv 1911.04933; Thudi et al. 2022, arXiv 2109.13398"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    # fewer than the forgotten rows, so that their order counts
    short: ClassVar[dict[str, Any]] = {"batch_size": 4}

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        loss = training_loss(problem.training_task)

        def objective(model: Any, forget: Batch) -> Tensor:
            return -loss(model, forget)

        return self.tuned(problem, models, inputs, objective, seed=seed)
