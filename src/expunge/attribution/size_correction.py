"""Linearised retraining at two sizes: as the model was trained, and as half-data models are.

What half-data models say of a set is not quite what leaving it out of all rows does (`datamodels`):

- They are all of one size, so they tell what these rows do, and not what there being fewer does.
  Leaving out rows at random changes a model too. That part is the step that the gradient of all
  present rows brings; EK-FAC alone makes it three times too large, so it is solved as the other is.
- In half as many rows each weighs twice as much, and training is half as long. Along a direction
  of curvature h, with damping c of a whole training, an effect g / (h + c) becomes 2 g / (h + 2 c):
  up to twice as large where training has settled. And half of the forgotten rows are there, on
  average, so their own curvature counts half: rows that are alike stand in for each other.

All this follows from the linearised model, and takes one step however many `rounds` the whole
prediction takes. Cost: that of `linearised`, and 12 units for each sampled and 6 for each forgotten
row and iteration more, 3 for each present and each forgotten row, and 6 for each row that is asked
about; where damping needs the size of gradients, that of half a training once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.attribution.damping import Travel, damping_of, travel
from expunge.attribution.linearised import Linearised
from expunge.attribution.weight_step import slope_along
from expunge.curvature.ekfac import ekfac
from expunge.curvature.leave_out import LeaveOut
from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.engine.shifted import Change
from expunge.problem import Problem

FEWER, HALF = "fewer rows/", "half the rows/"  # begin the names of steps kept beside the whole one


class Sizes(NamedTuple):
    """What is predicted of some rows for each of some models, (members, rows, C) on the CPU."""

    whole: Change  # as `Linearised` has it
    fewer: Tensor  # the part of it that leaving out as many rows at random brings
    half: Tensor  # what half-data models would say; `whole` less `fewer` is the same of all rows


@dataclass(frozen=True)
class SizeCorrection(Linearised):
    """Predicts as `Linearised` does, and tells what half-data models would say."""

    def sizes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Sizes]:
        """The prediction and its parts, by split; rows as in `changes`."""
        parts = [self._along(part, forget, asked) for part in (FEWER, HALF)]
        whole = self.changes(forget, asked)
        return {split: Sizes(whole[split], *(part[split] for part in parts)) for split in asked}

    def price(self, rows: int) -> Cost:
        """See `Linearised`; of all parts."""
        read = len(self.problem.present_rows) + len(self.problem.forget)
        products = 2 * self.iterations * self._sampled(self.problem)
        products += self.iterations * len(self.problem.forget)
        solved = Cost(4 * products + read, products + read)
        return super().price(rows) + solved + Cost(6 * rows)

    def _sizing(self) -> Cost:
        sized = self._half_travel.measured if self._implied else 0
        return super()._sizing() + Cost(sized, sized)

    def _along(self, part: str, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {split: [] for split in asked}
        for module, every in zip(self.models.modules(), self.steps(forget), strict=True):
            step = {n.removeprefix(part): d for n, d in every.items() if n.startswith(part)}
            for split, rows in asked.items():
                point = Point(self.problem.training_task, self.problem.served(split), module)
                found[split].append(slope_along(point, rows, step)[1].cpu())
        return {split: torch.stack(changes) for split, changes in found.items()}

    def _step(self, problem: Problem, point: Point, member: int) -> Weights:
        draws, how = self._draws(member), self._leave_out(point, member)
        present, retained = problem.present_rows, len(problem.retain)
        sample = self._sample(problem, draws)
        known = ekfac(point, sample, draws)
        share = len(problem.forget) / len(present)
        average = {name: share * g for name, g in point.gradient(present).items()}
        own = {name: g - average[name] for name, g in point.gradient(problem.forget).items()}
        there = share / 2  # the forgotten rows' part of half-data models
        curved = ((sample, 1 - there), (problem.forget, there))
        parts = {
            FEWER: how.solve(
                known,
                point,
                {name: g / retained for name, g in average.items()},
                ((sample, 1.0),),
            ),
            HALF: self._halved(point, member).solve(
                known, point, {name: 2 * g / len(present) for name, g in own.items()}, curved
            ),
        }
        step = how.fitted(known, point, problem.forget, retained, sample)
        for part, found in parts.items():
            step = step | {part + name: d for name, d in found.items()}
        return step

    def _halved(self, point: Point, member: int) -> LeaveOut:
        """How a half-data model's change is found: training is half as long."""
        if self.damping is None:
            damping = damping_of(self.problem, point, self._draws(member), self._half_travel)
        else:
            damping = 2 * self.damping
        return LeaveOut(damping, self.iterations)

    @cached_property
    def _half_travel(self) -> Travel:
        return travel(self.problem, len(self.problem.present_rows) // 2)
