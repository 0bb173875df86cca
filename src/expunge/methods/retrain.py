"""Train again from scratch without the forgotten rows: what every other method is compared with.

Source: the definition of exact unlearning; Cao and Yang 2015, "Towards Making Systems Forget with
Machine Unlearning". Differs: nothing. Cost: one retraining, 3 x epochs x |R| row units.
"""

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result, largest_change
from expunge.problem import Problem
from expunge.training.from_recipe import train


@dataclass(frozen=True)
class Retrain:
    """Train from a fresh seed on the retained rows; the old weights are not read."""

    name: ClassVar[str] = "retrain"
    source: ClassVar[str] = "Cao and Yang 2015"
    claim: ClassVar[Claim] = Claim.EXACT
    needs: ClassVar[frozenset[str]] = frozenset({"recipe"})
    any_models: ClassVar[bool] = True
    exempt: ClassVar[dict[str, str]] = {
        "forgotten rows are read": "it is the definition of forgetting",
        "identity without rows": "trains from a fresh seed, whatever is forgotten",
        "mask": "starts from other weights, so there is nothing to keep",
        "start": "does not read the weights it is given",
    }

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        device, group = str(models.device), getattr(models, "group", 1)
        fresh, cost = train(problem, "retrain", models.ids, seed=seed, group=group, device=device)
        return Result(fresh, cost, largest_change(models, fresh))

    def price(self, problem: Problem) -> Cost:
        """See `Method`; zero rows where a Trainer does not say its epochs."""
        read = problem.training.rows_read(len(problem.retain))
        return Cost(read, read)
