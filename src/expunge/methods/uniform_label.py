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
from expunge.ensemble import Ensemble
from expunge.loop import Cost, endless, epochs
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.methods.tuning import descent_cost, passes, penalty_of, tune
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class UniformLabel:
    """Descend on retained rows and towards the uniform distribution on forgotten ones."""

    name: ClassVar[str] = "uniform-label"
    source: ClassVar[str] = "our definition; compare Fan et al. 2024, arXiv 2310.12508 (RL)"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    epochs: int = setting(
        3, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.001 to 0.1", least=0
    )
    alpha: float = setting(
        1.0, "weight of the retained rows against the forgotten ones", typical="0.1 to 10", least=0
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
            outputs = task.outputs(model, forget)
            blank = task.distance(outputs, torch.zeros_like(outputs), forget).mean()
            return blank + self.alpha * keep

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
