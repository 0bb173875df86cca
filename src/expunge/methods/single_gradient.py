"""Add back what the forgotten rows' gradients at the beginning of training would have taken away.

Source: Thudi et al. 2022, "Unrolling SGD: Understanding Factors Influencing Machine Unlearning",
arXiv 2109.13398: the first term of unrolled SGD, theta_t = theta_0 - sum_i eta_i g_i(theta_0) +
..., without the forgotten rows. theta + alpha x sum over steps i of eta_i / B x (the sum of the
forgotten rows' gradients in batch i), all of them taken at theta_0; for a whole batch that is seen
in m epochs at a fixed rate, theta + eta m grad L(theta_0; batch). Exact, with plain SGD, after one
step, and after any number where gradients do not depend on the weights; the error grows with the
rate, the steps and the Hessian (see docs/unrolling.md). Differs: rows may lie in any
batches, at any rate; gradients without augmentation, in evaluation mode; with the recipe's penalty,
without its l2. Buffers stay. theta_0 is built again from its seed. Cost: 3 x |F| row units.
"""

from dataclasses import dataclass
from typing import ClassVar

from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.edit import edit
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws


@dataclass(frozen=True)
class SingleGradient:
    """Take back the forgotten rows' steps as they would have been at the beginning of training."""

    name: ClassVar[str] = "single-gradient"
    source: ClassVar[str] = "Thudi et al. 2022, arXiv 2109.13398"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset({"history"})
    exempt: ClassVar[dict[str, str]] = {
        "seed": "draws nothing",
        "buffers": "an edit of weights; statistics of batch norm stay",
        "direction": "undoes steps of a training, which the models of that law do not have",
    }

    alpha: float = setting(
        1.0, "length of the step; 1 is what theory says", typical="0.1 to 2", least=0
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        draws = Draws((seed, "unlearn", self.name))
        history = inputs.history
        assert history is not None

        def moved(point: Point, draws: Draws) -> Weights:
            assert draws.members is not None
            term = history.of(draws.members).first_term(problem.train, problem.forget)
            return {n: w + self.alpha * term[n].to(w.device) for n, w in point.weights.items()}

        return edit(
            problem,
            models,
            inputs,
            moved,
            draws=draws,
            cost=self.price(problem),
            reason="no step of the training held a forgotten row, or their gradients were zero",
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return Cost(len(problem.forget), len(problem.forget))
