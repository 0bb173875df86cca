"""Go on training, with the retained rows only, and let the forgotten ones fade.

Source: the baseline "FT" of the field, e.g. Golatkar et al. 2020, arXiv 1911.04933; setting of
Jia et al. 2023, "Model Sparsity Can Simplify Machine Unlearning", arXiv 2304.04934 (10 epochs of
SGD with momentum 0.9, lr 0.01). Differs: 5 epochs by default (a quarter of a training of 20), and
weight decay only as the recipe's l2. Batches are augmented as in the recipe; its penalty and
clipping are left out. Cost: 3 x epochs x |R| row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from expunge.data import Batch
from expunge.ensemble import Ensemble
from expunge.loop import Cost, epochs
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.methods.tuning import descent_cost, passes, penalty_of, tune
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class FineTune:
    """Descend the training loss on the retained rows."""

    name: ClassVar[str] = "fine-tune"
    source: ClassVar[str] = (
        "Golatkar et al. 2020, arXiv 1911.04933; Jia et al. 2023, arXiv 2304.04934"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    epochs: int = setting(
        5, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.001 to 0.1", least=0
    )
    batch_size: int = setting(64, "retained rows a step", unit="rows", typical="32 to 256", least=1)

    def __post_init__(self) -> None:
        check(self)

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
            draws=Draws((seed, "unlearn", self.name)),
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return descent_cost(*passes(problem.retain, self.batch_size, self.epochs))
