"""Relearning: how fast the loss on the forgotten rows falls again when training goes on with all
rows.

Source: Golatkar et al. 2020, arXiv 1911.04933; settings of the public code of Kurmanji et al.
2023, arXiv 2302.09880: SGD, lr 0.01, no weight decay, batch norm's statistics frozen, each epoch
500 rows drawn with replacement from all rows (of every class), no momentum, at most 100 epochs.
Differs: a run does not stop at the goal, so that the whole curve is kept.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from expunge.data import Batch, walk
from expunge.engine.descend import descend
from expunge.engine.ensemble import Ensemble
from expunge.problem import Problem, Task
from expunge.rng import Draws

ROWS, BATCH = 500, 100  # rows an epoch, and a step


def relearn(
    problem: Problem, models: Ensemble, *, seed: int, epochs: int = 100, lr: float = 0.01
) -> Tensor:
    """Mean loss on the forgotten rows before and after each epoch of relearning.

    Args:
        problem: the forgotten rows; rows are drawn from all that the originals were trained on.
        models: not changed.
        seed: of the rows drawn; every member draws its own.
        epochs: of 500 rows each.
        lr: of plain SGD.

    Returns:
        (members, epochs + 1) nats, float64; `audit.relearn` turns curves into times.
    """
    task, steps = problem.task, epochs * ROWS // BATCH
    present = problem.present_rows

    def objective(model: Any, batch: Batch) -> Tensor:
        return task.loss(task.outputs(model, batch), batch).mean()

    curves = []
    for group in models.groups():
        own = Draws((seed, "relearn")).of(group.ids)
        plan = (
            present[own.at(step).integers(len(present), (BATCH,))].to(group.device)
            for step in range(steps)
        )
        feeds = (
            (task.prepare(batch, own.at("prepare", step), training=True),)
            for step, batch in enumerate(problem.served().batches(plan))
        )
        curve: list[Tensor] = []

        def watch(step: int, group: Ensemble, curve: list[Tensor] = curve) -> None:
            if step % (ROWS // BATCH) == 0:
                curve.append(mean_loss(task, problem, group))

        descend(
            group,
            objective,
            feeds,
            steps=steps,
            optimizer=partial(torch.optim.SGD, lr=lr),
            draws=own,
            training=False,
            watch=watch,
            replayable=True,
        )
        curves.append(torch.stack(curve, dim=1))
    return torch.cat(curves)


def mean_loss(task: Task, problem: Problem, models: Ensemble) -> Tensor:
    """Mean loss on the forgotten rows, (members,) float64, evaluation mode."""
    outputs = models.outputs(task, problem.served(), problem.forget)
    (batch,) = problem.served().batches(walk(problem.forget, len(problem.forget)))
    losses = [task.loss(own.to(batch.rows.device), batch) for own in outputs]
    return torch.stack(losses).double().mean(1)
