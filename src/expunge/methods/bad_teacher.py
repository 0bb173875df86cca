"""Be like an untrained model on the forgotten rows and like oneself on the others (bad teacher).

Source: Chundawat et al. 2023, "Can Bad Teaching Induce Forgetting?", arXiv 2205.08096: KL to the
answers of a randomly initialised model on forgotten rows and to those of the original on a share
of the retained rows, mixed in one stream. Differs: the divergence is summed over classes (the
released code divides it by their number) and multiplied by temperature squared (there: not), and
the student is in training mode. Each model has an untrained teacher of its own. Cost: 5 x epochs x
(|F| + share x |R|) row units, the teachers' two forward passes included.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.batches import epochs
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.finetune import descent_cost, finetune, passes
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.methods.teaching import answers
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws
from expunge.training.from_recipe import untrained


@dataclass(frozen=True)
class BadTeacher:
    """Match an untrained model on forgotten rows and the original on retained ones."""

    name: ClassVar[str] = "bad-teacher"
    source: ClassVar[str] = "Chundawat et al. 2023, arXiv 2205.08096"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "one forward a row read": "two teachers answer on the very batch of the student",
    }
    forwards: ClassVar[int] = 3  # of each batch that is read: two teachers answer on it, too

    epochs: int = setting(
        1, "passes over the forgotten rows and the share", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(1e-4, "learning rate of Adam", typical="0.00001 to 0.01", least=0)
    share: float = setting(
        0.3, "share of the retained rows that is visited", typical="0.1 to 1", least=0, most=1
    )
    temperature: float = setting(
        1.0, "divides the logits of student and teachers", typical="1 to 4", least=1e-3
    )
    batch_size: int = setting(256, "rows a step", unit="rows", typical="64 to 256", least=1)

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        task, draws = problem.task, Draws((seed, "unlearn", self.name))
        forgotten = torch.zeros(len(problem.train), dtype=torch.bool, device=models.device)
        forgotten[problem.forget] = True
        blank: dict[tuple[int, ...], Ensemble] = {}

        def objective(model: Any, batch: Batch, teacher: Tensor) -> Tensor:
            outputs = task.outputs(model, batch)
            return task.distance(outputs, teacher, batch, self.temperature).mean()

        def taught(before: Ensemble, _: Draws, batches: tuple[Batch, ...]) -> tuple[Batch, Tensor]:
            (batch,) = batches
            if before.ids not in blank:
                blank.clear()  # one group at a time
                blank[before.ids] = self._untrained(problem, before, draws)
            bad, good = (answers(t, task, batch) for t in (blank[before.ids], before))
            return batch, torch.where(forgotten[batch.rows][..., None], bad, good)

        result = finetune(
            problem,
            models,
            inputs,
            objective,
            lambda own: [epochs(self._pool(problem, draws), self.batch_size, self.epochs, own)],
            steps=self._steps(problem)[0],
            lr=self.lr,
            draws=draws,
            feed=taught,
            optimizer=torch.optim.Adam,
        )
        return replace(result, cost=result.cost + self._watching(result.cost.backward_rows))

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        own = descent_cost(*self._steps(problem))
        return own + self._watching(own.backward_rows)

    def _watching(self, rows: int) -> Cost:
        """What the two teachers read."""
        return Cost(forward_rows=2 * rows)

    def _pool(self, problem: Problem, draws: Draws) -> Tensor:
        retain = problem.retain
        count = round(self.share * len(retain))
        chosen = draws.at("share").permutation(len(retain))[:count]
        return torch.cat([problem.forget, retain[chosen].sort().values])

    def _steps(self, problem: Problem) -> tuple[int, int]:
        rows = len(problem.forget) + round(self.share * len(problem.retain))
        return passes(torch.empty(rows), self.batch_size, self.epochs)

    def _untrained(self, problem: Problem, group: Ensemble, draws: Draws) -> Ensemble:
        seeds = draws.of(group.ids).at("untrained").seeds()
        modules = [untrained(problem, group.template, seed) for seed in seeds]
        return Ensemble.stack([m.to(group.device) for m in modules], group.ids, group.group)
