"""Leave a set of rows out: the change of the weights that training without them would bring.

The trained weights are treated as a minimum of the training loss, as in Bae et al. 2022, "If
influence functions are the answer, then what is the question?", arXiv 2209.05364: every row's loss
is replaced by its Bregman divergence from what it is now. Without F the minimum d of

  mean over R of [loss(z + J d) - slope . J d]  -  1/|R| sum over F of slope . J d  +  c/2 |d|^2

is found by Newton's steps with the Gauss-Newton matrix of the RETAINED rows: the forgotten rows'
own curvature, which classical influence keeps, makes the effect of a set many times too small.
Conjugate gradients solve each step, preconditioned by EK-FAC so that a handful of iterations does;
stopping early also keeps directions small that the sampled rows say nothing about.
"""

import copy
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.func import jvp

from expunge.curvature.ekfac import Ekfac, ekfac
from expunge.curvature.point import Point, Weights
from expunge.curvature.products import conjugate_gradients, gauss_newton_product, output_slope
from expunge.data import Batch
from expunge.engine.cost import Cost
from expunge.engine.kernels import stepwise_recurrence
from expunge.rng import Draws

Curved = tuple[tuple[Tensor, float], ...]


@dataclass(frozen=True)
class LeaveOut:
    """How the change is found.

    Args:
        damping: c, in units of the loss's curvature.
        iterations: of conjugate gradients at each step; 0 takes the EK-FAC inverse alone.
        rounds: Newton's steps; from the second on the model is linearised where the last one led.
    """

    damping: float
    iterations: int
    rounds: int = 1

    def step(
        self, point: Point, forget: Tensor, retained: int, sample: Tensor, draws: Draws
    ) -> Weights:
        """The change d of the weights.

        Args:
            point: the trained model.
            forget: rows F.
            retained: how many rows R has.
            sample: rows of R, at random, on which its curvature is measured.
            draws: of the random outputs of EK-FAC.
        """
        return self.fitted(ekfac(point, sample, draws), point, forget, retained, sample)

    def fitted(
        self, known: Ekfac, point: Point, forget: Tensor, retained: int, sample: Tensor
    ) -> Weights:
        """`step`, with EK-FAC fitted on the sample before."""
        total = {name: torch.zeros_like(w) for name, w in point.weights.items()}
        here = point
        for k in range(self.rounds):
            if k:
                here = moved(point, total)
            pull = here.gradient(forget, partial(_along, point, forgotten=True))
            goal = {name: g / retained for name, g in pull.items()}
            if k:
                push = here.gradient(sample, partial(_along, point, forgotten=False))
                for name, g in push.items():
                    goal[name] -= g / len(sample) + self.damping * total[name]
            found = self.solve(known, here, goal, ((sample, 1.0),))
            total = {name: value + found[name] for name, value in total.items()}
        return total

    def solve(self, known: Ekfac, point: Point, goal: Weights, curved: Curved) -> Weights:
        """The step that a goal brings: the damped inverse of some rows' curvature times it.

        Args:
            known: EK-FAC, fitted on most of these rows.
            point: where the curvature is taken.
            goal: what pulls, a mean over rows.
            curved: rows, and the share that their mean curvature has.
        """
        inverse = partial(known.solve, damping=self.damping)
        if not self.iterations:
            return inverse(goal)
        product = partial(self._product, point, curved)
        return conjugate_gradients(product, goal, self.iterations, precondition=inverse)

    def price(self, forget: int, sample: int) -> Cost:
        """What `step` reads of one model."""
        again = self.rounds - 1
        products = self.rounds * self.iterations * sample
        ekfac = Cost(1 + 2 * sample, 2 * sample)
        first = Cost(2 * forget, forget)
        later = Cost(2 * again * (forget + sample), again * (forget + sample))
        return ekfac + first + later + Cost(4 * products, products)

    def _product(self, here: Point, curved: Curved, vector: Weights) -> Weights:
        total = {name: self.damping * v for name, v in vector.items()}
        for rows, share in curved:
            for name, value in gauss_newton_product(here, rows, vector).items():
                total[name] += share * value
        return total


def moved(point: Point, step: Weights) -> Point:
    """The same model with its weights changed by a step; the point's own module stays."""
    module = copy.deepcopy(point.module)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in step:
                parameter += step[name]
    return replace(point, module=module)


def tangent(point: Point, rows: Tensor, step: Weights) -> tuple[Tensor, Tensor]:
    """The outputs z of some rows and J d, their change along a step, (rows, C) each: 3 units a row.

    The tangent of a forward pass costs as much as two.
    """
    found, step = [], {name: step[name] for name in point.weights}  # jvp wants the same order
    for batch in point.batches(rows):
        outputs = partial(_outputs, point, batch)
        with torch.no_grad(), stepwise_recurrence(point.module):
            found.append(jvp(outputs, (point.weights,), (step,)))
    z, change = zip(*found, strict=True)
    return torch.cat(z), torch.cat(change)


def _outputs(point: Point, batch: Batch, weights: Weights) -> Tensor:
    return point.task.outputs(point.at(weights), batch)


def _along(start: Point, outputs: Tensor, batch: Batch, forgotten: bool) -> Tensor:
    """Outputs times the slope of a row's divergence: its gradient is what the row pulls with."""
    with torch.no_grad(), start.evaluating():  # it may be another module than the one that is read
        before = start.task.outputs(start.module, batch)
    slope = output_slope(start.task, batch, before)
    if not forgotten:
        slope = output_slope(start.task, batch, outputs.detach()) - slope
    return (outputs * slope).sum(-1)
