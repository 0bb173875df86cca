"""Go on training with the retained rows under an l1 penalty that fades (l1-sparse).

Source: Jia et al. 2023, "Model Sparsity Can Simplify Machine Unlearning", arXiv 2304.04934: the
training loss on retained rows + gamma_t |theta|_1 over all weights, batch norm's included, with
gamma_t = gamma (1 - epoch / (epochs - free epochs)), not below 0. Differs: the default gamma is
1e-4; that of the released code, 0.2, destroys the model. The recipe's penalty and clipping are
left out. Cost: 3 x epochs x |R| row units.
"""

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.descent import RetainLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import setting
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class L1Sparse(RetainLoss):
    """Descend the training loss on retained rows while small weights are driven to zero."""

    name: ClassVar[str] = "l1-sparse"
    source: ClassVar[str] = "Jia et al. 2023, arXiv 2304.04934"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "forgotten rows are read": "the forgotten rows only fade",
    }

    gamma: float = setting(
        1e-4, "weight of |theta|_1 in the first epoch", typical="1e-6 to 5e-4", least=0
    )
    free_epochs: int = setting(
        0, "epochs at the end without the penalty", unit="epochs", typical="0 to 2", least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.free_epochs >= self.epochs:
            raise BadInput(
                f"l1-sparse with {self.free_epochs} of {self.epochs} epochs free of the penalty",
                expected="at least one epoch with it",
                fix="lower --free-epochs, or use fine-tune",
            )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        loss = training_loss(problem.training_task)
        return self.tuned(problem, models, inputs, loss, seed=seed, l1=self.weight)

    def weight(self, progress: float) -> float:
        """gamma_t, the same throughout an epoch; progress runs from 0 to 1."""
        epoch = int(progress * self.epochs + 1e-9)
        return self.gamma * max(0.0, 1 - epoch / (self.epochs - self.free_epochs))
