"""Answers of frozen models on the very batches that a student is shown."""

from typing import Any

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.ensemble import Ensemble
from expunge.problem import Task


def answers(teacher: Ensemble, task: Task, batch: Batch) -> Tensor:
    """Outputs of each member of one group on its own batch, (members, B, C), evaluation mode."""

    def outputs(model: Any, batch: Batch) -> Tensor:
        return task.outputs(model, batch)

    with teacher.mode(training=False), torch.no_grad():
        return teacher.each(outputs, batch)
