"""Add noise to every weight, the more the less it matters to the retained rows (Fisher forgetting).

Source: Golatkar et al. 2020, "Eternal Sunshine of the Spotless Net", arXiv 1911.04933, and its
code: each weight becomes a draw from N(mu, v) with v = alpha x min(1 / (I + 1e-8), 1000), I the
expected diagonal Fisher information of the retained rows; the variance is averaged over the
inputs of a unit; in the last layer 1 / (I + 1e-8) is at most 100 and the variance ten times
larger, as it is for biases and batch norm; of a class that is forgotten whole, mu = 0 and v =
1e-4 in its row of the last layer. Differs: that 1e-4 is final (the code multiplies it by ten with
the rest of the layer: 1e-3); the last layer is the last parameters whose first axis is the number
of classes (there: any such); `together` above 1 squares mean gradients as later published code did
(batches of 32), on another scale. Buffers stay. Cost: 3 x C x |R| row units for C classes, or fewer
with `samples`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.curvature.fisher import classes_of, expected_fisher
from expunge.curvature.point import Point, Weights
from expunge.data import walk
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.edit import edit, sample, sampled
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws

LARGEST, LARGEST_LAST = 1e3, 1e2  # of 1 / information
WHOLE_CLASS = 1e-4  # variance in the last layer of a class of which nothing is retained


@dataclass(frozen=True)
class FisherForgetting:
    """Hide the forgotten rows under noise where the retained rows do not mind it."""

    name: ClassVar[str] = "fisher"
    source: ClassVar[str] = "Golatkar et al. 2020, arXiv 1911.04933"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "direction": "its noise has none",
        "buffers": "an edit of weights; statistics of batch norm stay",
        "one forward a row read": "labels are read apart, to find classes that are forgotten whole",
    }

    alpha: float = setting(
        1e-6, "variance of the noise, relative to 1 / information", typical="1e-8 to 1e-5", least=0
    )
    samples: int = setting(
        0,
        "retained rows that estimate the information; 0 takes every one",
        unit="rows",
        typical="500 to all (0)",
        least=0,
    )
    together: int = setting(
        1,
        "rows whose mean gradient is squared; above 1 as later published code does",
        unit="rows",
        typical="1; published: 32",
        least=1,
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        draws = Draws((seed, "unlearn", self.name))

        def noisy(point: Point, draws: Draws) -> Weights:
            rows = sample(problem.retain, self.samples, draws)
            information = expected_fisher(point, rows, self.together)
            gone = emptied_classes(problem)
            last = _last_layer(point)
            new = {}
            for name, w in point.weights.items():
                mean, variance = self._noise(w, information[name], last=name in last)
                if name in last and len(gone):
                    mean, variance = mean.clone(), variance.clone()
                    mean[gone], variance[gone] = 0.0, WHOLE_CLASS
                normal = draws.at("noise", name).normal(w.shape)[0].to(w)
                new[name] = mean + variance.sqrt() * normal
            return new

        return edit(problem, models, inputs, noisy, draws=draws, cost=self.price(problem))

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        rows = sampled(problem.retain, self.samples) * getattr(problem.task, "classes", 1)
        return Cost(rows, rows)

    def _noise(self, w: Tensor, information: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        inverse = (1 / (information + 1e-8)).clamp_max(LARGEST)
        if last:
            inverse = inverse.clamp_max(LARGEST_LAST)
        variance = self.alpha * inverse
        if w.ndim > 1:
            variance = variance.mean(1, keepdim=True).expand_as(w)
        return w, variance * 10 if last or w.ndim == 1 else variance


def emptied_classes(problem: Problem) -> Tensor:
    """Classes of forgotten rows of which nothing is retained, int64; none for a regression."""
    if problem.task.kind != "classification":
        return torch.empty(0, dtype=torch.int64)
    found = []
    for rows in (problem.forget, problem.retain):
        batches = problem.train.batches(walk(rows))
        found.append(torch.cat([batch.targets.cpu() for batch in batches]).unique())
    return found[0][~torch.isin(found[0], found[1])]


def _last_layer(point: Point) -> set[str]:
    """The last matrix with one line a class, and the vector beside it; none for a regression."""
    classes = classes_of(point)
    if classes == 1:
        return set()
    matrices = [n for n, w in point.weights.items() if w.ndim > 1 and len(w) == classes]
    if not matrices:
        return set()
    module = matrices[-1].rpartition(".")[0]
    beside = [n for n, w in point.weights.items() if n.rpartition(".")[0] == module]
    return {n for n in beside if len(point.weights[n]) == classes}
