"""What methods that pass over forgotten rows, retained rows or both share: settings, plans, price.

A method of this kind is a subclass with an objective. A subclass may say a setting anew, with
another default or typical range.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from expunge.engine.batches import endless, epochs
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.finetune import descent_cost, finetune, passes, penalty_of
from expunge.methods.method import MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws

Objective = Callable[..., Tensor]


@dataclass(frozen=True)
class _Passes:
    name: ClassVar[str]
    over: ClassVar[str]  # what is passed over: "forget" or "retain" of the problem

    epochs: int
    lr: float
    batch_size: int

    def __post_init__(self) -> None:
        check(self)

    def rows(self, problem: Problem) -> Tensor:
        """The rows that are passed over, (n,) int64."""
        return getattr(problem, self.over)

    def l2(self, problem: Problem) -> float:
        """Weight of the recipe's l2 in the objective."""
        return 0.0

    def draws(self, seed: int) -> Draws:
        """Every random draw of the method."""
        return Draws((seed, "unlearn", self.name))

    def plans(self, problem: Problem, draws: Draws) -> list[Iterator[Tensor]]:
        """Streams of row numbers, zipped step by step."""
        return [epochs(self.rows(problem), self.batch_size, self.epochs, draws)]

    def steps(self, problem: Problem) -> int:
        """Gradient steps."""
        return passes(self.rows(problem), self.batch_size, self.epochs)[0]

    def tuned(
        self,
        problem: Problem,
        models: Ensemble,
        inputs: MethodInputs,
        objective: Objective,
        *,
        seed: int,
        **how: Any,
    ) -> Result:
        """Descend `objective(model, *batches)`, a batch of each plan; see `finetune`."""
        return finetune(
            problem,
            models,
            inputs,
            objective,
            lambda draws: self.plans(problem, draws),
            steps=self.steps(problem),
            lr=self.lr,
            l2=self.l2(problem),
            draws=self.draws(seed),
            **how,
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return descent_cost(*passes(self.rows(problem), self.batch_size, self.epochs))


@dataclass(frozen=True)
class ForgetLoss(_Passes):
    """A method that descends an objective on batches of forgotten rows alone."""

    over: ClassVar[str] = "forget"

    epochs: int = setting(
        5, "passes over the forgotten rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.001, "learning rate of SGD with momentum 0.9", typical="0.00001 to 0.01", least=0
    )
    batch_size: int = setting(
        64, "forgotten rows a step", unit="rows", typical="32 to 256", least=1
    )


@dataclass(frozen=True)
class RetainLoss(_Passes):
    """A method that descends an objective and the recipe's l2 on batches of retained rows."""

    over: ClassVar[str] = "retain"

    epochs: int = setting(
        5, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.001 to 0.1", least=0
    )
    batch_size: int = setting(64, "retained rows a step", unit="rows", typical="32 to 256", least=1)

    def l2(self, problem: Problem) -> float:
        """The recipe's: it goes on with the training loss."""
        return penalty_of(problem)


@dataclass(frozen=True)
class JointLoss(RetainLoss):
    """A method whose every step has a batch of retained and one of forgotten rows."""

    epochs: int = setting(
        3, "passes over the retained rows", unit="epochs", typical="1 to 10", least=1
    )
    forget_batch_size: int = setting(
        32, "forgotten rows a step", unit="rows", typical="16 to 256", least=1
    )

    def plans(self, problem: Problem, draws: Draws) -> list[Iterator[Tensor]]:
        """Retained rows epoch by epoch, forgotten ones again and again."""
        return [
            *super().plans(problem, draws.at("retain")),
            endless(problem.forget, self.forget_batch_size, draws.at("forget")),
        ]

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        steps, rows = passes(problem.retain, self.batch_size, self.epochs)
        return descent_cost(steps, rows + min(self.forget_batch_size, len(problem.forget)))
