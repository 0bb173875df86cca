"""A task as training has it: the recipe's penalty is part of its loss.

Whoever goes on with the training, or asks for its gradient or curvature, means the loss that was
trained on; whoever judges means the task's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from expunge.data import Batch
from expunge.problem.task import Task

Penalty = Callable[[Tensor, Batch], Tensor]  # of outputs (B, C) and their batch: (B,), nats


def penalised(task: Task, penalty: Penalty | None) -> Task:
    """The task with a penalty added to its loss; itself without one."""
    if penalty is None:
        return task
    made: Any = Penalised(task, penalty)
    return made


@dataclass(frozen=True)
class Penalised:
    """In all but the loss it is the task inside."""

    task: Task
    penalty: Penalty

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The task's loss plus the penalty, (B,), nats."""
        return self.task.loss(outputs, batch) + self.penalty(outputs, batch)

    def redirected(self, model: Any, batch: Batch, teacher: Any = None) -> Tensor:
        """The task's loss towards new targets plus the penalty, (B,), nats."""
        if type(self.task).redirected is Task.redirected:  # one pass forward is enough
            return self.loss(self.task.outputs(model, batch), batch)
        penalty = self.penalty(self.task.outputs(model, batch), batch)
        return self.task.redirected(model, batch, teacher) + penalty

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked while it is unpickled, before there is a task
            raise AttributeError(name)
        return getattr(self.task, name)
