"""Unrolling: how far single-gradient unlearning is from naive retraining along one training, and
the factors of the proxy that foretells it.

Source: Thudi et al. 2022, "Unrolling SGD", arXiv 2109.13398. A member is trained again on S, and
naively without F; after some numbers of steps the weights of both, and those of single-gradient
unlearning, are compared, and the Hessian of the training loss is asked for its largest eigenvalue.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from expunge.curvature.point import Point, Weights
from expunge.curvature.spectrum import Spectrum, top_eigenvalue
from expunge.engine.ensemble import Ensemble
from expunge.problem import Problem
from expunge.rng import Draws
from expunge.training.unrolled.history import History

HESSIAN_ROWS = 512
TOLERANCE = 1e-2  # relative: the other factors of the proxy are cruder


@dataclass(frozen=True)
class Stage:
    """One member after some steps; weights by parameter name.

    Attributes:
        steps: done.
        model: trained on all of S.
        original: its weights.
        retrained: naively, without F.
        unlearned: the original after single-gradient unlearning.
    """

    steps: int
    model: nn.Module
    original: Weights
    retrained: Weights
    unlearned: Weights


def unrolled(
    history: History,
    forget: Tensor,
    at: Sequence[int],
) -> Iterator[Stage]:
    """One member after each of these numbers of steps, with and without F.

    Both trainings are run by the same arithmetic, one model alone, so that nothing but the
    forgotten rows tells them apart.

    Args:
        history: of one member.
        forget: the rows F, int64.
        at: numbers of steps, from 1 to those of the training, in rising order.
    """
    task, data = history.problem.task, history.problem.train
    kept, left = _seen(history, forget[:0], at), _seen(history, forget, at)
    for steps in at:
        original = Point(task, data, kept[steps]).weights
        term = history.first_term(data, forget, steps)
        yield Stage(
            steps,
            kept[steps],
            original,
            Point(task, data, left[steps]).weights,
            {name: w + term[name].to(w.device) for name, w in original.items()},
        )


def curvature(
    problem: Problem,
    module: nn.Module,
    seed: int,
    rows: int = HESSIAN_ROWS,
    tolerance: float = TOLERANCE,
) -> Spectrum:
    """The eigenvalue of largest size of the Hessian of the training loss, penalty and l2 included.

    Args:
        problem: with a Recipe, whose loss it is.
        module: where the Hessian is taken, in evaluation mode.
        seed: draws the rows, the same for every module.
        rows: of the training rows; 0: all.
        tolerance: relative.
    """
    draws, present = Draws((seed, "hessian")), problem.present_rows
    if 0 < rows < len(present):
        present = present[draws.permutation(len(present))[:rows]].sort().values
    return top_eigenvalue(
        Point(problem.training_task, problem.served(), module),
        present,
        l2=problem.training.l2,
        tolerance=tolerance,
        draws=draws.at("start"),
    )


def evenly(steps: int, measurements: int) -> list[int]:
    """Numbers of steps, evenly over a training to its end; no more looks than it has steps."""
    measurements = min(measurements, steps)
    return [round(steps * (k + 1) / measurements) for k in range(measurements)]


def _seen(history: History, forget: Tensor, at: Sequence[int]) -> dict[int, nn.Module]:
    """Copies of one member, trained without F, by the number of steps done."""
    seen: dict[int, nn.Module] = {}

    def look(step: int, models: Ensemble) -> None:
        if step in at:
            seen[step] = copy.deepcopy(models.template)
            seen[step].zero_grad(set_to_none=True)

    history.without(forget, watch=look)
    return seen
