"""TRAK: the change of every logit by one Newton step of logistic regression on projected gradients.

Source: Park et al. 2023, "TRAK: Attributing Model Behavior at Scale", arXiv 2303.14186, section 3;
one prediction a logit as in Georgiev et al. 2024, arXiv 2410.23232.

A model is taken to be linear in its weights, and a row's loss to depend on its margin alone. With
the features phi_i = P^T grad m_i of train rows and psi = P^T grad z_c of a logit, and the loss's
slope s_i and curvature r_i in the margin (for classification s = -(1 - p), the paper's -Q, and r =
p (1 - p)), Newton's step from the trained weights to training without F changes the logit by

  psi^T A^-1 sum over i in F of s_i phi_i,    A = sum of r_i phi_i phi_i^T + damping x rows x I

in units of the logit. Nothing is rescaled: the authors' library divides A^-1 by its mean absolute
entry, after which scores have no unit. The paper's formula is `weighted=False` (all r = 1),
`retained=False` (A of all rows: the effect of a set is the sum of its rows') and `damping=0`. Its
changes of the forgotten rows' own logits are too small, on nine small models 2 to 5,000 times, as
r is far below 1 where a model fits well, and as forgotten rows that are alike hold each other in
place. By default r stays and A is of the retained rows: then the factor was 0.4 to 3 for random
sets and 0.6 to 5 for rows that are alike. Unprojected, the step is exact for linear least squares
and Newton's own for a linear model of two classes; with more classes A lacks the curvature among
the wrong ones, which makes changes larger.

Each model has its own P and its own prediction. Differs: the authors average slopes and all else
over models, ours is each model's own; P is sparse (`projection`), no soft threshold, and psi is
never made: psi^T v is the derivative of the logit along P v, one pass for all logits. Cost: 4 row
units a train row for the fit, which serves all forget sets; 3 for each forgotten row and 4 for each
row asked about.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from expunge.attribution.margin_features import MarginFeatures
from expunge.attribution.weight_step import WeightStepAttribution, prediction_cost
from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws

SHARE = 1e-3  # of the trace of A / rows: the default damping, unless the recipe's l2 is more


@dataclass(frozen=True)
class Trak(WeightStepAttribution):
    """TRAK: one Newton step on randomly projected gradients of margins.

    Each of some trained models gets its own prediction.

    Args:
        problem: task, data and the rows present; those it forgets play no part.
        models: trained on the present rows.
        seed: of the projections.
    """

    name: ClassVar[str] = "trak"

    dimension: int = setting(
        2048,
        "features a row; all weights, unprojected, where there are fewer",
        typical="512 to 8192",
        least=1,
    )
    damping: float | None = setting(
        None,
        "damping in units of the loss's curvature; none: 1e-3 of its mean over features, or the "
        "recipe's l2 if that is more",
        typical="0.0001 to 0.1",
        least=0,
    )
    weighted: bool = setting(True, "curvature of the loss; false: 1, as in the paper")
    retained: bool = setting(True, "curvature of the retained rows; false: of all, as in the paper")

    def __post_init__(self) -> None:
        check(self)

    @cached_property
    def fitted(self) -> dict[int, MarginFeatures]:
        """What is kept of each model, by its number: read once, for all forget sets.

        Raises:
            BadInput: a task that is neither classification nor regression, or margins that are not
                finite.
        """
        rows, found = self.problem.present_rows, {}
        for member, module in zip(self.models.ids, self.models.modules(), strict=True):
            found[member] = MarginFeatures.measure(
                Point(self.problem.training_task, self.problem.served(), module),
                rows,
                dimension=self.dimension,
                weighted=self.weighted,
                draws=Draws((self.seed, "attribution", "trak", member)),
            )
        return found

    def price(self, rows: int) -> Cost:
        """What a prediction for so many rows reads of one model, for the problem's forget set.

        Fused kernels that have no forward derivative take C backward passes a row.
        """
        present, forget = len(self.problem.present_rows), len(self.problem.forget)
        return Cost(2 * present + forget, present + forget) + prediction_cost(rows)

    def reads(self) -> int:
        """See `WeightStepAttribution`; margins are read apart from their gradients."""
        return self.price(0).forward_rows

    def _step(self, problem: Problem, point: Point, member: int) -> Weights:
        own = self.fitted[member]
        damping = self._default(own) if self.damping is None else self.damping
        return own.step(point, problem.forget, damping=damping, retained=self.retained)

    def _default(self, own: MarginFeatures) -> float:
        return max(self.problem.training.l2, SHARE * own.trace)
