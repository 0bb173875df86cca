"""Climb the loss of the forgotten rows while descending that of the retained ones (NegGrad+).

Source: Kurmanji et al. 2023, "Towards Unbounded Machine Unlearning", arXiv 2302.09880, appendix:
alpha CE(retain) - (1 - alpha) CE(forget), passes over the retained rows zipped with the forgotten
rows again and again. Differs: momentum 0.9 as in our other methods, weight decay only as the
recipe's l2. Batches are augmented as in the recipe; its penalty and clipping are left out. Cost:
3 x epochs x |R| x (1 + forget batch / batch) row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from expunge.data import Batch
from expunge.engine.ensemble import Ensemble
from expunge.methods.descent import JointLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import setting
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class AscentDescent(JointLoss):
    """Descend on retained rows and ascend on forgotten ones in the same step."""

    name: ClassVar[str] = "ascent-descent"
    source: ClassVar[str] = "Kurmanji et al. 2023, arXiv 2302.09880 (NegGrad+)"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.0005 to 0.01", least=0
    )
    alpha: float = setting(
        0.95,
        "weight of the retained rows; 1 - alpha climbs on the forgotten ones",
        typical="0.9 to 0.999",
        least=0,
        most=1,  # above, it would descend on the forgotten rows
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        loss = training_loss(problem.training_task)

        def objective(model: Any, retain: Batch, forget: Batch) -> Tensor:
            return self.alpha * loss(model, retain) - (1.0 - self.alpha) * loss(model, forget)

        return self.tuned(problem, models, inputs, objective, seed=seed)
