"""Teach the forgotten rows other labels while going on with the retained rows (RL).

Source: the baseline "RL", Golatkar et al. 2020, arXiv 1911.04933; as a sum of two losses, Fan et
al. 2024, "SalUn", arXiv 2310.12508, equation 3 without the mask. Differs: both losses share every
step and a label is never the true one, drawn anew each time; the released code runs all forgotten
batches of an epoch before all retained ones (`sequential`) and may draw the true label
(`true_label`). The recipe's penalty and clipping are left out. Cost: 3 x epochs x |R| x (1 + forget
batch / batch) row units; sequential: 3 x epochs x (|R| + |F|).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.batches import epochs
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.descent import JointLoss
from expunge.methods.finetune import descent_cost, passes
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import setting
from expunge.rng import Draws
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class RandomLabel(JointLoss):
    """Descend on retained rows and on relabelled forgotten ones in the same step."""

    name: ClassVar[str] = "random-label"
    source: ClassVar[str] = (
        "Golatkar et al. 2020, arXiv 1911.04933; Fan et al. 2024, arXiv 2310.12508"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    alpha: float = setting(
        1.0,
        "weight of the retained rows against the relabelled ones",
        typical="0.1 to 10",
        least=0,
    )
    sequential: bool = setting(
        False, "as published code: all forgotten batches of an epoch first, then all retained ones"
    )
    true_label: bool = setting(
        False, "as published code: the label that is drawn may be the true one"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sequential and self.alpha != type(self).alpha:
            raise BadInput(
                f"{self.name} with sequential and alpha = {self.alpha:g}",
                expected="no alpha: relabelled and retained rows then share no step to be weighed",
                fix="leave --alpha out, or --sequential",
            )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        return self.relabelled(problem, models, inputs, seed=seed)

    def relabelled(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs, *, seed: int, **how: Any
    ) -> Result:
        """The method itself, on which both forms of SalUn build; see `finetune` for the rest."""
        task, loss = problem.training_task, training_loss(problem.training_task)
        forgotten = torch.zeros(len(problem.train), dtype=torch.bool)
        forgotten[problem.forget] = True

        def objective(model: Any, *batches: Batch) -> Tensor:
            if self.sequential:  # one stream: relabelled rows, then retained ones
                return loss(model, batches[0])
            retain, forget = batches
            kept = loss(model, retain)
            return task.redirected(model, forget).mean() + self.alpha * kept

        def feed(before: Ensemble, draws: Draws, batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
            forget = batches[-1]
            if not self.sequential or forgotten[forget.rows.flatten()[0].cpu()]:
                forget = task.relabel(forget, draws, own=self.true_label)
            return (*batches[:-1], forget)

        return self.tuned(problem, models, inputs, objective, seed=seed, feed=feed, **how)

    def draws(self, seed: int) -> Draws:
        """Those of random-label for every form of it, so that they differ in nothing else."""
        return Draws((seed, "unlearn", RandomLabel.name))

    def steps(self, problem: Problem) -> int:
        """Gradient steps."""
        return super().steps(problem) + (self._first(problem)[0] if self.sequential else 0)

    def plans(self, problem: Problem, draws: Draws) -> list[Iterator[Tensor]]:
        """As `JointLoss` has them, or one stream."""
        if self.sequential:
            return [self._one_after_the_other(problem, draws)]
        return super().plans(problem, draws)

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        if not self.sequential:
            return super().price(problem)
        retain = passes(problem.retain, self.batch_size, self.epochs)
        return descent_cost(*self._first(problem)) + descent_cost(*retain)

    def _first(self, problem: Problem) -> tuple[int, int]:
        return passes(problem.forget, self.forget_batch_size, self.epochs)

    def _one_after_the_other(self, problem: Problem, draws: Draws) -> Iterator[Tensor]:
        for epoch in range(self.epochs):
            forget, retain = draws.at("forget", epoch), draws.at("retain", epoch)
            yield from epochs(problem.forget, self.forget_batch_size, 1, forget)
            yield from epochs(problem.retain, self.batch_size, 1, retain)
