"""Go on training with the retained rows under an l1 penalty that fades (l1-sparse).

Source: Jia et al. 2023, "Model Sparsity Can Simplify Machine Unlearning", arXiv 2304.04934: the
training loss on retained rows + gamma_t |theta|_1 over all weights, batch norm's included, with
gamma_t = gamma (1 - epoch / (epochs - free epochs)), not below 0. Differs: the default gamma is
1e-4; that of the released code, 0.2, destroys the model. The recipe's penalty and clipping are
left out. Cost: 3 x epochs x |R| row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from expunge.data import Batch
from expunge.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.loop import Cost, epochs
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.methods.tuning import descent_cost, passes, penalty_of, tune
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class L1Sparse:
    """Descend the training loss on retained rows while small weights are driven to zero."""

    name: ClassVar[str] = "l1-sparse"
    source: ClassVar[str] = "Jia et al. 2023, arXiv 2304.04934"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    epochs: int = setting(
        5, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.001 to 0.1", least=0
    )
    gamma: float = setting(
        1e-4, "weight of |theta|_1 in the first epoch", typical="1e-6 to 5e-4", least=0
    )
    free_epochs: int = setting(
        0, "epochs at the end without the penalty", unit="epochs", typical="0 to 2", least=0
    )
    batch_size: int = setting(64, "retained rows a step", unit="rows", typical="32 to 256", least=1)

    def __post_init__(self) -> None:
        check(self)
        if self.free_epochs >= self.epochs:
            raise BadInput(
                f"l1-sparse with {self.free_epochs} of {self.epochs} epochs free of the penalty",
                expected="at least one epoch with it",
                cure="lower --free-epochs, or use fine-tune",
            )

    def __call__(
        self, problem: Problem, models: Ensemble, given: Given = Given(), *, seed: int
    ) -> Result:
        """See `Method`."""
        task = problem.task

        def objective(model: Any, retain: Batch) -> Tensor:
            return task.loss(task.outputs(model, retain), retain).mean()

        return tune(
            problem,
            models,
            given,
            objective,
            lambda draws: [epochs(problem.retain, self.batch_size, self.epochs, draws)],
            steps=passes(problem.retain, self.batch_size, self.epochs)[0],
            lr=self.lr,
            l2=penalty_of(problem),
            l1=self.weight,
            draws=Draws((seed, "unlearn", self.name)),
        )

    def weight(self, progress: float) -> float:
        """gamma_t, the same throughout an epoch; progress runs from 0 to 1."""
        epoch = int(progress * self.epochs + 1e-9)
        return self.gamma * max(0.0, 1 - epoch / (self.epochs - self.free_epochs))

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return descent_cost(*passes(problem.retain, self.batch_size, self.epochs))
