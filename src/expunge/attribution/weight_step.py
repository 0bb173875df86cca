"""Attributions that move a trained model's weights by a step and follow its outputs along it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from expunge.curvature.fisher import classes_of
from expunge.curvature.leave_out import moved, tangent
from expunge.curvature.point import Point, Weights
from expunge.data import Data
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Change
from expunge.problem import Problem


@dataclass(frozen=True)
class WeightStepAttribution(ABC):
    """Predicts, for each of some trained models, its own change; a subclass finds the steps.

    The standard error is how far following goes wrong: the distance between z + J d and the
    outputs of the model with its weights moved by d.

    Args:
        problem: data, recipe and the rows that are present; the rows it forgets play no part.
        models: trained on the present rows.
        seed: of all draws.
    """

    problem: Problem
    models: Ensemble
    seed: int = 0
    _found: dict[bytes, list[Weights]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """The predicted change of each model's outputs had `forget` not been trained on.

        Args:
            forget: row numbers, each present.
            rows: row numbers within the split.
            split: "train", "validation" or "test".

        Returns:
            Mean and standard error, (members, rows, C) on the CPU.

        Raises:
            BadInput: rows that were not trained on, or nothing left of them.
        """
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """`without` for several splits at once: the change of the weights is found once."""
        found: dict[str, list[Change]] = {split: [] for split in asked}
        steps = self.steps(forget)
        for module, step in zip(self.models.modules(), steps, strict=True):
            point = Point(self.problem.training_task, self.problem.served(), module)
            there = moved(point, step)
            for split, rows in asked.items():
                found[split].append(_change(point, there, self.problem.splits[split], rows, step))
        return {
            split: Change(*(torch.stack(parts) for parts in zip(*own, strict=True)))
            for split, own in found.items()
        }

    def steps(self, forget: Tensor) -> list[Weights]:
        """The change of each model's weights; of the last forget set it is remembered."""
        problem = self.problem.forgetting(forget)  # sorted: their order changes no bit
        key = problem.forget.numpy().tobytes()
        if key not in self._found:
            members = zip(self.models.modules(), self.models.ids, strict=True)
            found = [
                self._step(problem, Point(problem.training_task, problem.served(), module), member)
                for module, member in members
            ]
            self.remember(forget, found)
        return self._found[key]

    def remember(self, forget: Tensor, steps: list[Weights]) -> None:
        """Take the changes of the weights as found before, by `steps` of the same models."""
        self._found.clear()
        self._found[self.problem.forgetting(forget).forget.numpy().tobytes()] = steps

    @abstractmethod
    def price(self, rows: int) -> Cost:
        """What a prediction for so many rows reads of one model, for the problem's forget set."""

    def reads(self) -> int:
        """Rows that `steps` reads for one model and the problem's forget set: for a bar."""
        return self.price(0).backward_rows  # it goes backward once through each

    @abstractmethod
    def _step(self, problem: Problem, point: Point, member: int) -> Weights:
        """The change of one model's weights when the problem's rows are forgotten."""


def prediction_cost(rows: int) -> Cost:
    """What a prediction for so many rows reads of one model, once its step is known."""
    return Cost(4 * rows)  # the tangent of a forward pass costs as much as two more


def _change(point: Point, there: Point, data: Data, rows: Tensor, step: Weights) -> Change:
    """The derivative of some rows' outputs, and its distance from where the outputs really go."""
    z, change = slope_along(replace(point, data=data), rows, step)
    with torch.no_grad():
        outputs = [
            there.task.outputs(there.module, batch)
            for batch in replace(there, data=data).batches(rows)
        ]
    return Change(change.cpu(), (torch.cat(outputs) - z - change).abs().cpu())


def slope_along(point: Point, rows: Tensor, step: Weights) -> tuple[Tensor, Tensor]:
    """The outputs z of some rows and their derivative along a step, (rows, C) each.

    Fused kernels that have no forward derivative take C backward passes a row.
    """
    try:
        return tangent(point, rows, step)
    except NotImplementedError:  # no forward derivative: each output's gradient, times the step
        columns = []
        for c in range(classes_of(point)):
            parts = [
                torch.stack([(g * step[n]).flatten(1).sum(1) for n, g in part.items()]).sum(0)
                for part in point.row_gradients(rows, lambda z, _, c=c: z[:, c])
            ]
            columns.append(torch.cat(parts))
    with torch.no_grad():
        z = [point.task.outputs(point.module, batch) for batch in point.batches(rows)]
    return torch.cat(z), torch.stack(columns, dim=1)
