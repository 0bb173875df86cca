"""Teach the forgotten rows other labels while going on with the retained rows.

Source: the baseline "RL", Golatkar et al. 2020, arXiv 1911.04933; as a sum of two losses, Fan et
al. 2024, "SalUn", arXiv 2310.12508, equation 3 without the mask. Differs: the released code
runs all forgotten batches before all retained ones and may draw the true label; here both losses
share every step and a label is never the true one, drawn anew each time. The recipe's
augmentation, penalty and clipping are left out. Cost: 3 x epochs x |R| x
(1 + forget batch / batch) row units.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from expunge.data import Batch
from expunge.ensemble import Ensemble
from expunge.loop import Cost, endless, epochs
from expunge.methods.method import Claim, Given, Result, at_least
from expunge.methods.tuning import descent_cost, passes, penalty_of, tune
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class RandomLabel:
    """Descend on retained rows and on relabelled forgotten ones in the same step."""

    name: ClassVar[str] = "random-label"
    source: ClassVar[str] = (
        "Golatkar et al. 2020, arXiv 1911.04933; Fan et al. 2024, arXiv 2310.12508"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    epochs: int = 3  # passes over the retained rows
    lr: float = 0.01
    alpha: float = 1.0  # weight of the retained rows against the relabelled ones
    batch_size: int = 64  # retained rows a step
    forget_batch_size: int = 32  # forgotten rows a step

    def __post_init__(self) -> None:
        at_least(self, 1, "epochs", "batch_size", "forget_batch_size")
        at_least(self, 0, "lr", "alpha")

    def __call__(
        self, problem: Problem, models: Ensemble, given: Given = Given(), *, seed: int
    ) -> Result:
        """See `Method`."""
        task = problem.task

        def objective(model: Any, retain: Batch, forget: Batch) -> Tensor:
            keep = task.loss(task.outputs(model, retain), retain).mean()
            teach = task.loss(task.outputs(model, forget), forget).mean()
            return teach + self.alpha * keep

        def relabelled(
            models: Ensemble, draws: Draws, batches: tuple[Batch, ...]
        ) -> tuple[Batch, Batch]:
            retain, forget = batches
            return retain, task.relabel(forget, draws)

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
            feed=relabelled,
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        steps, rows = passes(problem.retain, self.batch_size, self.epochs)
        return descent_cost(steps, rows + min(self.forget_batch_size, len(problem.forget)))
