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

Each model has its own P. As in the paper, the mean over models of s multiplies the mean of all
else. Differs: P is sparse (`projection`), no soft threshold, and psi is never made: psi^T v is the
derivative of the logit along P v, one pass for all logits. Cost: 4 row units a train row for the
fit; 3 for each forgotten row and 3 for each row asked about.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.attribution.margin_features import MarginFeatures
from expunge.curvature.fisher import classes_of
from expunge.curvature.leave_out import tangent
from expunge.curvature.point import Point, Weights
from expunge.ensemble import Change, Ensemble
from expunge.errors import BadInput
from expunge.loop import Cost
from expunge.problem import Problem
from expunge.recipe import Recipe
from expunge.rng import Draws

SHARE = 1e-3  # of the trace of A / rows: the default damping, unless the recipe's l2 is more


@dataclass(frozen=True)
class Trak:
    """Predicts by TRAK how outputs would change without some rows; made by `Trak.fit`."""

    problem: Problem
    models: Ensemble
    fitted: tuple[MarginFeatures, ...]  # one a model
    dampings: tuple[float, ...]  # one a model, in units of the loss's curvature
    retained: bool

    @classmethod
    def fit(
        cls,
        problem: Problem,
        models: Ensemble,
        *,
        dimension: int = 2048,
        damping: float | None = None,
        weighted: bool = True,
        retained: bool = True,
        seed: int = 0,
    ) -> "Trak":
        """Read the rows that some models were trained on.

        Args:
            problem: task, data and the rows present; those it forgets play no part.
            models: trained on the present rows; kept, not copied.
            dimension: k, features a row; all weights, unprojected, where there are fewer.
            damping: in units of the loss's curvature, as the recipe's l2. None: 1e-3 of the trace
                of A / rows, or that l2 if it is more.
            weighted: A has the curvature of the loss; otherwise 1, as in the paper.
            retained: A is of the retained rows; otherwise of all, as in the paper.
            seed: of the projections.

        Raises:
            BadInput: a dimension below 1, negative damping, a task that is neither classification
                nor regression, or margins that are not finite.
        """
        if dimension < 1 or (damping is not None and not damping >= 0):
            raise BadInput(
                f"TRAK with dimension={dimension} and damping={damping}",
                expected="a dimension of at least 1, and damping of at least 0",
                cure="leave both out for the defaults",
            )
        rows, fitted, dampings = problem.present_rows, [], []
        for member, module in zip(models.ids, models.modules(), strict=True):
            point = Point(problem.task, problem.train, module)
            draws = Draws((seed, "attribution", "trak", member))
            own = MarginFeatures.measure(
                point, rows, dimension=dimension, weighted=weighted, draws=draws
            )
            fitted.append(own)
            dampings.append(_default(problem, own) if damping is None else damping)
        return cls(problem, models, tuple(fitted), tuple(dampings), retained)

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """The predicted change of the outputs of `rows` had `forget` not been trained on.

        Args:
            forget: row numbers, each present.
            rows: row numbers within the split, at least one.
            split: "train", "validation" or "test".

        Returns:
            Mean over models and its standard error, (rows, C) float64 on the CPU. The error is the
            spread over models and their projections; of a single model it is not known and is 0.
            How far linearising goes wrong is not in it.

        Raises:
            BadInput: rows that were not present, or damping too small for A to have an inverse.
        """
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """`without` for several splits at once: the change of the weights is found once."""
        forget = self.problem.forgetting(forget).forget  # sorted: their order changes no bit
        slope = torch.stack([own.slope(forget) for own in self.fitted]).mean(0)
        found: dict[str, list[Tensor]] = {split: [] for split in asked}
        for own, damping, module in zip(
            self.fitted, self.dampings, self.models.modules(), strict=True
        ):
            point = Point(self.problem.task, self.problem.train, module)
            step = own.step(point, forget, slope, damping=damping, retained=self.retained)
            for split, rows in asked.items():
                there = replace(point, data=self.problem.splits[split])
                found[split].append(_derivative(there, rows, step).double().cpu())
        return {split: _summary(torch.stack(parts)) for split, parts in found.items()}

    @staticmethod
    def price(forget: int, rows: int) -> Cost:
        """What `without` reads of one model for so many rows.

        Attention and LSTMs, which have no forward derivative, take C backward passes a row.
        """
        return Cost(forget + 3 * rows, forget)  # the tangent of a forward pass costs as two more


def price(problem: Problem) -> Cost:
    """What `Trak.fit` reads of one model: 4 units a row."""
    rows = len(problem.present_rows)
    return Cost(2 * rows, rows)


def _default(problem: Problem, own: MarginFeatures) -> float:
    l2 = problem.recipe.l2 if isinstance(problem.recipe, Recipe) else 0.0
    return max(l2, SHARE * own.trace)


def _derivative(point: Point, rows: Tensor, step: Weights) -> Tensor:
    """The derivative of every output along a step of the weights, (rows, C)."""
    try:
        return tangent(point, rows, step)[1]
    except NotImplementedError:  # no forward derivative: each output's gradient, times the step
        columns = []
        for c in range(classes_of(point)):
            parts = [
                torch.stack([(g * step[n]).flatten(1).sum(1) for n, g in part.items()]).sum(0)
                for part in point.row_gradients(rows, lambda z, _, c=c: z[:, c])
            ]
            columns.append(torch.cat(parts))
        return torch.stack(columns, dim=1)


def _summary(changes: Tensor) -> Change:
    """Mean and standard error over models, from (members, rows, C)."""
    if len(changes) == 1:
        return Change(changes[0], torch.zeros_like(changes[0]))
    return Change(changes.mean(0), changes.std(0) / math.sqrt(len(changes)))
