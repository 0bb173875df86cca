"""Leave-set-out linearised retraining: what a model would say without some rows, from it alone.

Source: our own; its parts are known. Linearise the outputs at the trained weights, z + J d, and
take for d what retraining on R would change (`curvature/leave_out.py`), damped by how long the
recipe trains (`damping.py`). Compared with influence functions (Koh and Liang 2017, arXiv
1703.04730; Bae et al. 2022, arXiv 2209.05364) the curvature is that of the retained rows alone,
sampled, and the damping is not chosen but follows from the recipe. No second model is trained, and
every model of an ensemble gets its own prediction.

Cost: 6 units for each sampled row and 6 more an iteration, 4 for each forgotten row; and 4 for
each row that is asked about. 3 for each row on which the damping of an optimizer like Adam is
measured.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from expunge.attribution.damping import Travel, damping_of, sample_of, travel
from expunge.attribution.weight_step import WeightStepAttribution, prediction_cost
from expunge.curvature.leave_out import LeaveOut
from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.engine.kernels import forward_derivative_needed
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws

SERVED_BY = "use --attribution trak, or one made from half-data models, such as datamodels"


@dataclass(frozen=True, kw_only=True)
class LinearisedSettings:
    """The settings of linearised retraining."""

    damped: ClassVar[bool] = True

    damping: float | None = setting(
        None,
        "damping in units of the loss's curvature; none: as the recipe implies",
        typical="0.001 to 0.1",
        above=0,
    )
    samples: int = setting(
        2000,
        "retained rows on which curvature is measured, at most half of them",
        unit="rows",
        typical="500 to 2000",
        least=1,
    )
    # more fit the sampled rows' curvature better than that of the others, and predict worse
    iterations: int = setting(
        2, "iterations of conjugate gradients; 0 is EK-FAC alone", typical="0 to 5", least=0
    )
    rounds: int = setting(
        1, "Newton steps; 2 linearises once more at the first step's end", typical="1 to 2", least=1
    )
    curvature: str = setting(
        "retained",
        "whose curvature: of retained rows, or of all rows as in influence functions",
        choices=("retained", "all"),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Linearised(WeightStepAttribution, LinearisedSettings):
    """Retraining linearised at the model's own weights; no other model is trained.

    Each of some trained models gets its own prediction.

    Args:
        problem: data, recipe and the rows that are present; the rows it forgets play no part.
        models: trained on the present rows.
        seed: of the sample and the random outputs.
    """

    name: ClassVar[str] = "linearised"

    def steps(self, forget: Tensor) -> list[Weights]:
        """See `WeightStepAttribution`.

        Raises:
            BadInput: rows that were not trained on, or nothing left of them; a model that has no
                forward derivative.
        """
        with forward_derivative_needed(self.models.template, "this attribution", SERVED_BY):
            return super().steps(forget)

    def price(self, rows: int) -> Cost:
        """What a prediction for so many rows reads of one model, for the problem's forget set."""
        problem = self.problem
        solved = LeaveOut(1.0, self.iterations, self.rounds).price(
            len(problem.forget), self._sampled(problem)
        )
        return solved + self._sizing() + prediction_cost(rows)

    def _sizing(self) -> Cost:
        """What the damping reads; a problem that implies none is refused before it is run."""
        sized = self._travel.measured if self._implied else 0
        return Cost(sized, sized)

    @property
    def _implied(self) -> bool:
        return self.damping is None and self.problem.training.stepwise

    def _step(self, problem: Problem, point: Point, member: int) -> Weights:
        draws, how = self._draws(member), self._leave_out(point, member)
        sample = self._sample(problem, draws)
        return how.step(point, problem.forget, len(problem.retain), sample, draws)

    def _draws(self, member: int) -> Draws:
        return Draws((self.seed, "attribution", "linearised", member))

    def _sample(self, problem: Problem, draws: Draws) -> Tensor:
        pool = problem.retain if self.curvature == "retained" else problem.present_rows
        return sample_of(pool, self._sampled(problem), draws)

    def _leave_out(self, point: Point, member: int) -> LeaveOut:
        damping = self.damping
        if damping is None:
            damping = damping_of(self.problem, point, self._draws(member), self._travel)
        return LeaveOut(damping, self.iterations, self.rounds)

    def _sampled(self, problem: Problem) -> int:
        return min(self.samples, -(-len(problem.retain) // 2))

    @cached_property
    def _travel(self) -> Travel:
        return travel(self.problem)


@dataclass(frozen=True, kw_only=True)
class Influence(Linearised):
    """Linearised retraining with the curvature of all rows, as in influence functions."""

    name: ClassVar[str] = "influence"

    curvature: str = setting("all", "whose curvature", choices=("retained", "all"))


@dataclass(frozen=True, kw_only=True)
class EKFAC(Linearised):
    """Linearised retraining with the curvature solved by EK-FAC alone."""

    name: ClassVar[str] = "ek-fac"

    iterations: int = setting(0, "iterations of conjugate gradients", least=0)
