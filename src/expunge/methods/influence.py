"""One step of Newton's kind: what the forgotten rows' gradients did to the weights is taken back
(IU).

Source: Koh and Liang 2017, arXiv 1703.04730; for unlearning with WoodFisher, Izzo et al. 2021,
arXiv 2002.10077, and Jia et al. 2023, arXiv 2304.04934 ("IU"). theta + alpha x H^-1 v, with v the
gradient of the training loss on all rows minus that on the retained ones, v = g_F / N - g_R x N_F
/ (N x N_R). H is, with `curvature` = "fisher", the damped empirical Fisher matrix of some
retained rows (WoodFisher), or, with "gauss-newton", that of all rows plus the recipe's l2 and
`damping`, solved by conjugate gradients; on a linear model and without damping that is the
Hessian, and the error of one step is of second order in `fraction`. Differs: gradients without
augmentation, of rows drawn at random; the published code reads the first 1000 in order and updates
one running vector (`running`), which is not the inverse (see `curvature/woodfisher.py`). Buffers
stay. Cost: 3 x N for the gradients, and
3 x `samples` (fisher) or 6 x N x `iterations` (gauss-newton) row units.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from expunge.curvature.memory import free_bytes
from expunge.curvature.point import Point, Weights, unflattened
from expunge.curvature.products import conjugate_gradients, gauss_newton_product
from expunge.curvature.woodfisher import running_woodfisher, woodfisher
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.engine.kernels import forward_derivative_needed
from expunge.errors import BadInput
from expunge.methods.edit import edit, sample, sampled
from expunge.methods.finetune import penalty_of
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws


@dataclass(frozen=True)
class Influence:
    """Undo the first-order effect that the forgotten rows had on the weights."""

    name: ClassVar[str] = "influence"
    source: ClassVar[str] = (
        "Koh and Liang 2017, arXiv 1703.04730; Jia et al. 2023, arXiv 2304.04934 (IU)"
    )
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "seed": "draws rows only where there are more than it reads",
        "buffers": "an edit of weights; statistics of batch norm stay",
    }

    alpha: float = setting(
        1.0, "length of the step; 1 is what theory says", typical="0.1 to 20", least=0
    )
    curvature: str = setting(
        "fisher", "matrix that is inverted", choices=("fisher", "gauss-newton")
    )
    damping: float = setting(
        1.0,
        "added to the diagonal of the matrix; 0 makes gauss-newton exact on linear models",
        typical="0.001 to 1; published: 1",
        least=0,
    )
    samples: int = setting(
        1000,
        "retained rows in the Fisher matrix; 0 takes every one",
        unit="rows",
        typical="300 to 1000",
        least=0,
    )
    iterations: int = setting(
        20, "conjugate gradient steps with gauss-newton", unit="steps", typical="10 to 100", least=1
    )
    fraction: float = setting(
        1.0, "of the forgotten rows' weight that is removed; below 1 to test", least=0, most=1
    )
    running: bool = setting(
        False, "the published code's recursion of one running vector, for comparison"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.curvature == "fisher" and not self.damping:
            raise BadInput(
                "influence with damping = 0 and the Fisher matrix",
                expected="damping above 0: the matrix of so few rows has no inverse",
                fix="leave --damping out, or use --curvature gauss-newton",
            )
        if self.curvature == "gauss-newton" and self.running:
            raise BadInput(
                "influence with running and curvature = gauss-newton",
                expected="the Fisher matrix, which the recursion is made for",
                fix="leave --running out, or --curvature",
            )
        if self.running and self.damping != 1:
            raise BadInput(
                f"influence with running and damping = {self.damping:g}",
                expected="damping = 1: the published recursion begins with the identity",
                fix="leave --running or --damping out",
            )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        draws = Draws((seed, "unlearn", self.name))

        def moved(point: Point, draws: Draws) -> Weights:
            if self.curvature == "fisher" and not self.running:
                _require_room(point, sampled(problem.retain, self.samples))
            step = self._solve(problem, point, self._effect(problem, point), draws)
            return {name: w + self.alpha * step[name] for name, w in point.weights.items()}

        return edit(problem, models, inputs, moved, draws=draws, cost=self.price(problem))

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        whole = len(problem.present_rows)
        if self.curvature == "fisher":
            read = whole + sampled(problem.retain, self.samples)
            return Cost(read, read)
        products = self.iterations * whole
        return Cost(whole + 4 * products, whole + products)

    def _effect(self, problem: Problem, point: Point) -> Weights:
        """The gradient on all rows minus that with the forgotten rows' weight reduced."""
        n, n_f = len(problem.present_rows), len(problem.forget)
        left = 1 - self.fraction
        g_f, g_r = point.gradient(problem.forget), point.gradient(problem.retain)
        return {
            name: (g_f[name] + g_r[name]) / n
            - (g_r[name] + left * g_f[name]) / (n - self.fraction * n_f)
            for name in g_f
        }

    def _solve(self, problem: Problem, point: Point, goal: Weights, draws: Draws) -> Weights:
        if self.curvature == "gauss-newton":
            ridge = penalty_of(problem) + self.damping
            product = partial(gauss_newton_product, point, problem.present_rows)
            with forward_derivative_needed(
                point.module, "influence with gauss-newton", "use --curvature fisher"
            ):
                return conjugate_gradients(
                    lambda v: {n: value + ridge * v[n] for n, value in product(v).items()},
                    goal,
                    self.iterations,
                )
        rows = sample(problem.retain, self.samples, draws)
        vector = torch.cat([v.flatten() for v in goal.values()])
        parts = (
            torch.cat([g.flatten(1) for g in part.values()], dim=1)
            for part in point.row_gradients(rows)
        )
        if self.running:
            found = running_woodfisher((row for part in parts for row in part), vector)
        else:
            gradients, done = vector.new_empty(len(rows), len(vector)), 0  # no room for two
            for part in parts:
                gradients[done : done + len(part)] = part
                done += len(part)
            found = woodfisher(gradients, vector, self.damping)
        return unflattened(found, goal)


def _require_room(point: Point, rows: int) -> None:
    """Refuse, before any work, gradients of rows that do not fit into memory together."""
    weights = list(point.weights.values())
    needed = rows * sum(w.numel() * w.element_size() for w in weights)
    free = free_bytes(weights[0].device)
    if free is not None and needed > free:
        raise BadInput(
            f"influence with {rows:,} gradients of {point.size:,} weights, {needed / 1e9:.1f} GB",
            expected=f"at most the {free / 1e9:.1f} GB that are free on {weights[0].device}",
            fix="lower --samples or use --curvature gauss-newton",
        )
