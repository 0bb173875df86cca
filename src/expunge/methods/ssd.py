"""Dampen the weights that matter far more to the forgotten rows than to all (SSD).

Source: Foster et al. 2024, "Fast Machine Unlearning Without Retraining Through Selective Synaptic
Dampening", arXiv 2308.07707: with I_F and I_S the diagonal Fisher information of the forgotten and
of all rows, weights with I_F > alpha I_S are multiplied by min(dampening x I_S / I_F, 1). Differs:
the information is that of single rows; the released code squares the mean gradient of a batch
(`together` = its batch size, 64 or 128). Buffers stay. No weight may qualify; the result then says
so. Cost: 3 x (|F| + |S|) row units, or fewer with `samples`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from expunge.curvature.fisher import squared_gradients
from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.edit import edit, sample, sampled
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws


@dataclass(frozen=True)
class SSD:
    """Shrink the weights that the forgotten rows need much more than all rows together."""

    name: ClassVar[str] = "ssd"
    source: ClassVar[str] = "Foster et al. 2024, arXiv 2308.07707"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "seed": "draws rows only where there are more than it reads",
        "buffers": "an edit of weights; statistics of batch norm stay",
        "mask": "moves the few weights that it selects: tests/unit/methods/test_edits.py",
    }
    # untrained models have hardly a weight that matters ten times more
    short: ClassVar[dict[str, Any]] = {"alpha": 1.0}

    alpha: float = setting(
        10.0, "how many times more a weight must matter to be dampened", typical="5 to 50", least=0
    )
    dampening: float = setting(
        1.0, "factor on the dampened weights (lambda)", typical="0.1 to 1", least=0
    )
    samples: int = setting(
        0,
        "rows of all that estimate the information; 0 takes every one",
        unit="rows",
        typical="500 to all (0)",
        least=0,
    )
    together: int = setting(
        1,
        "rows whose mean gradient is squared; above 1 as the published code does",
        unit="rows",
        typical="1; published: 64, 128",
        least=1,
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        draws = Draws((seed, "unlearn", self.name))

        def dampened(point: Point, draws: Draws) -> Weights:
            whole = sample(problem.present_rows, self.samples, draws)
            on_forget = squared_gradients(point, problem.forget, self.together)
            on_all = squared_gradients(point, whole, self.together)
            new = {}
            for name, w in point.weights.items():
                chosen = on_forget[name] > self.alpha * on_all[name]
                factor = (self.dampening * on_all[name] / on_forget[name]).clamp_max(1.0)
                new[name] = torch.where(chosen, w * factor, w)
            return new

        return edit(
            problem,
            models,
            inputs,
            dampened,
            draws=draws,
            cost=self.price(problem),
            reason=f"no weight matters {self.alpha:g} times more to the forgotten rows",
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        rows = len(problem.forget) + sampled(problem.present_rows, self.samples)
        return Cost(rows, rows)
