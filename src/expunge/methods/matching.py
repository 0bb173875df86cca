"""Fine-tune models to the outputs that they should have: the core of oracle matching and of DMM.

Source: Georgiev et al. 2024, "Attribute-to-Delete", arXiv 2410.23232: squared error between the
student's and the target's outputs over all classes, on the forgotten rows and some retained ones,
the retained rows drawn once, the student in training mode. Differs: the learning rate falls to
zero in a line (there: by 0.95 an epoch), and the budget is a number of steps of fixed size (there:
epochs over a multiple of the forget set), because a small forget set would otherwise get too few
steps. Cost: 3 rows a row and step, plus one forward row for each row that needs a target.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.batches import endless
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.finetune import descent_cost, finetune
from expunge.methods.method import MethodInputs, Result
from expunge.problem import Problem
from expunge.problem.recipe import linear
from expunge.registry import check, setting
from expunge.rng import Draws

LOSSES = ("outputs", "distribution", "margin")


@dataclass(frozen=True)
class Matching:
    """A method that matches targets on forgotten and retained rows; a subclass says which."""

    name: ClassVar[str]
    closer: ClassVar[tuple[float, dict[str, Any]]] = (
        0.05,
        {"steps": 150, "lr": 0.05, "forget_batch_size": 6, "retain_batch_size": 80},
    )

    steps: int = setting(160, "steps of Adam", unit="steps", typical="40 to 800", least=1)
    lr: float = setting(
        0.001, "learning rate at the start; falls to zero", typical="0.0001 to 0.01", least=0
    )
    forget_batch_size: int = setting(
        16, "forgotten rows a step", unit="rows", typical="8 to 256", least=1
    )
    retain_batch_size: int = setting(
        16, "retained rows a step", unit="rows", typical="1 to 20 times the forgotten", least=1
    )
    loss: str = setting(
        "outputs",
        "what is matched: the outputs (squared error), their distribution (KL), or the margin",
        choices=LOSSES,
    )

    def __post_init__(self) -> None:
        check(self)

    def matched(
        self,
        problem: Problem,
        models: Ensemble,
        inputs: MethodInputs,
        targets: Callable[[Tensor], Tensor],
        *,
        seed: int,
    ) -> Result:
        """The models after matching; `models` are the students, not changed.

        Args:
            problem: the rows.
            models: the students.
            inputs: its mask is honoured.
            targets: row numbers (rows,) -> outputs to match, (members, rows, C), as in models.
            seed: of all draws.
        """
        draws = Draws((seed, "unlearn", self.name))
        retain = retain_pool(problem, self.steps, self.retain_batch_size, draws)
        known = torch.cat([problem.forget, retain])
        place = torch.full((len(problem.train),), -1, dtype=torch.int64)
        place[known] = torch.arange(len(known))
        table = targets(known) if len(problem.forget) else torch.empty(0)
        member = {number: k for k, number in enumerate(models.ids)}
        task = problem.task

        def objective(model: Any, batch: Batch, target: Tensor) -> Tensor:
            outputs = task.outputs(model, batch)
            if self.loss == "distribution":
                return task.distance(outputs, target, batch).mean()
            if self.loss == "margin":
                wanted = task.margin(target, batch)
                return (task.margin(outputs, batch) - wanted).square().mean()
            return (outputs - target).square().mean()

        def with_targets(
            before: Ensemble, draws: Draws, batches: tuple[Batch, ...]
        ) -> tuple[Batch, Tensor]:
            (batch,) = batches
            own = torch.tensor([member[number] for number in before.ids])
            wanted = table[own[:, None], place[batch.rows.cpu()]]
            return batch, wanted.to(batch.rows.device)

        def plans(draws: Draws) -> list:
            forget = endless(problem.forget, self.forget_batch_size, draws.at("forget"))
            kept = endless(retain, self.retain_batch_size, draws.at("retain"))
            return [(torch.cat(pair, dim=1) for pair in zip(forget, kept, strict=True))]

        result = finetune(
            problem,
            models,
            inputs,
            objective,
            plans,
            steps=self.steps,
            lr=self.lr,
            draws=draws,
            feed=with_targets,
            optimizer=torch.optim.Adam,
            schedule=linear,
            augment=False,
        )
        if not len(problem.forget):
            return result
        return replace(result, cost=result.cost + Cost(forward_rows=len(known)))

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        forget, retain = len(problem.forget), len(problem.retain)
        pool = forget + min(retain, self.steps * self.retain_batch_size)
        rows = min(self.forget_batch_size, forget) + min(self.retain_batch_size, retain)
        return descent_cost(self.steps, rows) + Cost(forward_rows=pool)


def retain_pool(problem: Problem, steps: int, batch_size: int, draws: Draws) -> Tensor:
    """The retained rows that are matched: as many as the steps can visit, once for all members."""
    rows = problem.retain
    order = draws.at("pool").permutation(len(rows))
    return rows[order[: min(len(rows), steps * batch_size)]].sort().values
