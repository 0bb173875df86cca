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
from expunge.ensemble import Ensemble
from expunge.loop import Cost, epochs
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.methods.tuning import descent_cost, passes, tune
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class GradientAscent:
    """Ascend the training loss on the forgotten rows alone."""

    name: ClassVar[str] = "gradient-ascent"
    source: ClassVar[str] = (
        "Golatkar et al. 2020, arXiv 1911.04933; Thudi et al. 2022, arXiv 2109.13398"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    epochs: int = setting(
        5, "passes over the forgotten rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.001, "learning rate of SGD with momentum 0.9", typical="0.00001 to 0.01", least=0
    )
    batch_size: int = setting(
        64, "forgotten rows a step", unit="rows", typical="32 to 256", least=1
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, given: Given = Given(), *, seed: int
    ) -> Result:
        """See `Method`."""
        task = problem.task

        def objective(model: Any, forget: Batch) -> Tensor:
            return -task.loss(task.outputs(model, forget), forget).mean()

        return tune(
            problem,
            models,
            given,
            objective,
            lambda draws: [epochs(problem.forget, self.batch_size, self.epochs, draws)],
            steps=passes(problem.forget, self.batch_size, self.epochs)[0],
            lr=self.lr,
            draws=Draws((seed, "unlearn", self.name)),
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return descent_cost(*passes(problem.forget, self.batch_size, self.epochs))
