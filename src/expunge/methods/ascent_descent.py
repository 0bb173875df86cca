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
from expunge.ensemble import Ensemble
from expunge.loop import Cost, endless, epochs
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.methods.tuning import descent_cost, passes, penalty_of, tune
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class AscentDescent:
    """Descend on retained rows and ascend on forgotten ones in the same step."""

    name: ClassVar[str] = "ascent-descent"
    source: ClassVar[str] = "Kurmanji et al. 2023, arXiv 2302.09880 (NegGrad+)"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    epochs: int = setting(
        3, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
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
    batch_size: int = setting(64, "retained rows a step", unit="rows", typical="32 to 256", least=1)
    forget_batch_size: int = setting(
        32, "forgotten rows a step", unit="rows", typical="16 to 256", least=1
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, given: Given = Given(), *, seed: int
    ) -> Result:
        """See `Method`."""
        task = problem.task

        def objective(model: Any, retain: Batch, forget: Batch) -> Tensor:
            keep = task.loss(task.outputs(model, retain), retain).mean()
            lose = task.loss(task.outputs(model, forget), forget).mean()
            return self.alpha * keep - (1.0 - self.alpha) * lose

        return tune(
            problem,
            models,
            given,
            objective,
            lambda draws: [
                epochs(problem.retain, self.batch_size, self.epochs, draws.at("retain")),
                endless(problem.forget, self.forget_batch_size, draws.at("forget")),
            ],
            steps=passes(problem.retain, self.batch_size, self.epochs)[0],
            lr=self.lr,
            l2=penalty_of(problem),
            draws=Draws((seed, "unlearn", self.name)),
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        steps, rows = passes(problem.retain, self.batch_size, self.epochs)
        return descent_cost(steps, rows + min(self.forget_batch_size, len(problem.forget)))
