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

from expunge.attribution.margin_features import MarginFeatures
from expunge.attribution.weight_step import WeightStepAttribution, prediction_cost
from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.errors import BadInput
from expunge.problem import Problem
from expunge.rng import Draws

SHARE = 1e-3  # of the trace of A / rows: the default damping, unless the recipe's l2 is more


@dataclass(frozen=True)
class Trak(WeightStepAttribution):
    """Predicts by TRAK, for each of some trained models, its own change.

    Args:
        problem: task, data and the rows present; those it forgets play no part.
        models: trained on the present rows.
        seed: of the projections.
        dimension: k, features a row; all weights, unprojected, where there are fewer.
        damping: in units of the loss's curvature, as the recipe's l2. None: 1e-3 of the trace of
            A / rows, or that l2 if it is more.
        weighted: A has the curvature of the loss; otherwise 1, as in the paper.
        retained: A is of the retained rows; otherwise of all, as in the paper.
    """

    dimension: int = 2048
    damping: float | None = None
    weighted: bool = True
    retained: bool = True

    def __post_init__(self) -> None:
        wrong = self.damping is not None and not 0 <= self.damping < float("inf")
        if self.dimension < 1 or wrong:
            raise BadInput(
                f"TRAK with dimension={self.dimension} and damping={self.damping}",
                expected="a dimension of at least 1, and a finite damping of at least 0",
                fix="leave both out for the defaults",
            )

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
