"""Go on training, with the retained rows only, and let the forgotten ones fade.

Source: the baseline "FT" of the field, e.g. Golatkar et al. 2020, arXiv 1911.04933; setting of
Jia et al. 2023, "Model Sparsity Can Simplify Machine Unlearning", arXiv 2304.04934 (10 epochs of
SGD with momentum 0.9, lr 0.01). Differs: 5 epochs by default (a quarter of a training of 20), and
weight decay only as the recipe's l2. Batches are augmented as in the recipe; its penalty and
clipping are left out. Cost: 3 x epochs x |R| row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from expunge.engine.ensemble import Ensemble
from expunge.methods.descent import RetainLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class FineTune(RetainLoss):
    """Descend the training loss on the retained rows."""

    name: ClassVar[str] = "fine-tune"
    source: ClassVar[str] = (
        "Golatkar et al. 2020, arXiv 1911.04933; Jia et al. 2023, arXiv 2304.04934"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "forgotten rows are read": "the forgotten rows only fade",
    }
    closer: ClassVar[tuple[float, dict[str, Any]]] = (
        0.9,
        {"epochs": 20, "lr": 0.05, "batch_size": 1000},
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        return self.tuned(problem, models, inputs, training_loss(problem.training_task), seed=seed)
