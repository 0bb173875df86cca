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
from expunge.ensemble import Ensemble
from expunge.loop import Cost, endless, epochs
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.methods.tuning import Hook, descent_cost, passes, penalty_of, tune
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

    epochs: int = setting(
        3, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.001 to 0.1", least=0
    )
    alpha: float = setting(
        1.0,
        "weight of the retained rows against the relabelled ones",
        typical="0.1 to 10",
        least=0,
    )
    batch_size: int = setting(64, "retained rows a step", unit="rows", typical="32 to 256", least=1)
    forget_batch_size: int = setting(
        32, "forgotten rows a step", unit="rows", typical="16 to 256", least=1
    )
    sequential: bool = setting(
        False, "as published code: all forgotten batches of an epoch first, then all retained ones"
    )
    true_label: bool = setting(
        False, "as published code: the label that is drawn may be the true one"
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, given: Given = Given(), *, seed: int
    ) -> Result:
        """See `Method`."""
        return self.run(problem, models, given, seed=seed)

    def run(
        self,
        problem: Problem,
        models: Ensemble,
        given: Given,
        *,
        seed: int,
        strict: bool = True,
        after: Hook | None = None,
    ) -> Result:
        """The method with a hook after each step, for SalUn in both its forms.

        Args:
            problem: the rows.
            models: not changed.
            given: its mask is honoured.
            seed: of all draws.
            strict: see `descend`.
            after: see `tune`.
        """
        task = problem.task
        forgotten = torch.zeros(len(problem.train), dtype=torch.bool)
        forgotten[problem.forget] = True

        def objective(model: Any, *batches: Batch) -> Tensor:
            losses = [task.loss(task.outputs(model, batch), batch).mean() for batch in batches]
            return losses[0] if len(losses) == 1 else losses[1] + self.alpha * losses[0]

        def relabelled(
            before: Ensemble, draws: Draws, batches: tuple[Batch, ...]
        ) -> tuple[Batch, ...]:
            forget = batches[-1]
            if not self.sequential or forgotten[forget.rows.flatten()[0].cpu()]:
                forget = task.relabel(forget, draws, own=self.true_label)
            return (*batches[:-1], forget)

        return tune(
            problem,
            models,
            given,
            objective,
            lambda draws: self._plans(problem, draws),
            steps=self._steps(problem),
            lr=self.lr,
            l2=penalty_of(problem),
            draws=Draws((seed, "unlearn", self.name)),
            feed=relabelled,
            strict=strict,
            after=after,
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        steps, rows = passes(problem.retain, self.batch_size, self.epochs)
        if self.sequential:
            forget = descent_cost(*passes(problem.forget, self.forget_batch_size, self.epochs))
            return forget + descent_cost(steps, rows)
        return descent_cost(steps, rows + min(self.forget_batch_size, len(problem.forget)))

    def _steps(self, problem: Problem) -> int:
        steps = passes(problem.retain, self.batch_size, self.epochs)[0]
        first = passes(problem.forget, self.forget_batch_size, self.epochs)[0]
        return steps + first if self.sequential else steps

    def _plans(self, problem: Problem, draws: Draws) -> list[Iterator[Tensor]]:
        if self.sequential:
            return [self._one_after_the_other(problem, draws)]
        return [
            epochs(problem.retain, self.batch_size, self.epochs, draws.at("retain")),
            endless(problem.forget, self.forget_batch_size, draws.at("forget")),
        ]

    def _one_after_the_other(self, problem: Problem, draws: Draws) -> Iterator[Tensor]:
        for epoch in range(self.epochs):
            forget, retain = draws.at("forget", epoch), draws.at("retain", epoch)
            yield from epochs(problem.forget, self.forget_batch_size, 1, forget)
            yield from epochs(problem.retain, self.batch_size, 1, retain)
