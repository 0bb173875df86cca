"""Teach the forgotten rows to be nothing in particular while going on with the retained rows.

Source: the idea is common, e.g. as "uniform label" in talks on unlearning; no released code is
known to us, so the definition is ours: KL(uniform || answer) on forgotten rows, which has the
gradient of the cross-entropy with uniform targets, + alpha x training loss on retained rows. (For
a regression, whose outputs have no uniform distribution, the target is 0.) The recipe's penalty
and clipping are left out. Cost: 3 x epochs x |R| x (1 + forget batch / batch) row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.ensemble import Ensemble
from expunge.methods.descent import JointLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import setting
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class UniformLabel(JointLoss):
    """Descend on retained rows and towards the uniform distribution on forgotten ones."""

    name: ClassVar[str] = "uniform-label"
    source: ClassVar[str] = "our definition; compare Fan et al. 2024, arXiv 2310.12508 (RL)"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    alpha: float = setting(
        1.0, "weight of the retained rows against the forgotten ones", typical="0.1 to 10", least=0
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        task, loss = problem.task, training_loss(problem.training_task)

        def objective(model: Any, retain: Batch, forget: Batch) -> Tensor:
            outputs = task.outputs(model, forget)
            blank = task.distance(outputs, torch.zeros_like(outputs), forget).mean()
            return blank + self.alpha * loss(model, retain)

        return self.tuned(problem, models, inputs, objective, seed=seed)
