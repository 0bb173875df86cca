"""Fine-tune each model to the outputs of an oracle: what matching can do at best.

Source: Georgiev et al. 2024, arXiv 2410.23232, section 4 (OM). Differs: each model has an oracle of
its own where there are enough (the published settings use one oracle too), see also `matching.py`.
The teachers cost as many retrainings as there are, so this is a yardstick and no saving.
Cost: see `matching.py`; teachers are counted apart.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from expunge.ensemble import Ensemble
from expunge.loop import Cost
from expunge.methods.matching import LOSSES, match, match_cost
from expunge.methods.method import Claim, Given, Result
from expunge.methods.setting import check, setting
from expunge.problem import Problem
from expunge.rng import Draws


@dataclass(frozen=True)
class OracleMatching:
    """Match the outputs of retrained models that the audit does not use."""

    name: ClassVar[str] = "oracle-matching"
    source: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset({"recipe", "teachers"})

    steps: int = setting(80, "steps of Adam", unit="steps", typical="20 to 400", least=1)
    lr: float = setting(
        0.003, "learning rate at the start; falls to zero", typical="0.0001 to 0.01", least=0
    )
    forget_batch_size: int = setting(
        32, "forgotten rows a step", unit="rows", typical="16 to 256", least=1
    )
    retain_batch_size: int = setting(
        32, "retained rows a step", unit="rows", typical="1 to 20 times the forgotten", least=1
    )
    loss: str = setting(
        "outputs",
        "what is matched: the outputs (squared error) or their distribution (KL)",
        choices=LOSSES,
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, given: Given = Given(), *, seed: int
    ) -> Result:
        """See `Method`; model i is taught by teacher i, modulo their number."""
        teachers = given.teachers
        assert teachers is not None, "checked by the api: needs"

        def targets(rows: Tensor) -> Tensor:
            outputs = teachers.outputs(problem.task, problem.train, rows)
            place = {number: k for k, number in enumerate(teachers.ids)}
            return outputs[[place.get(i, i % len(teachers.ids)) for i in models.ids]]

        return match(
            problem,
            models,
            given,
            targets,
            steps=self.steps,
            lr=self.lr,
            forget_batch_size=self.forget_batch_size,
            retain_batch_size=self.retain_batch_size,
            loss=self.loss,
            draws=Draws((seed, "unlearn", self.name)),
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return match_cost(problem, self.steps, self.forget_batch_size, self.retain_batch_size)
