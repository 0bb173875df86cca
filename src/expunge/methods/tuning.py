"""The shape that most methods share: one loss over forget and retain batches inside `descend`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.ensemble import Ensemble
from expunge.loop import Cost, descend
from expunge.methods.method import Given, Result, largest_change, unchanged
from expunge.problem import Problem
from expunge.recipe import Recipe, constant
from expunge.rng import Draws

# Momentum 0.9, as the published code of all methods that descend with SGD has it.
SGD = partial(torch.optim.SGD, momentum=0.9)


def tune(
    problem: Problem,
    models: Ensemble,
    given: Given,
    objective: Callable[..., Tensor],
    plans: Callable[[Draws], Sequence[Iterator[Tensor]]],
    *,
    steps: int,
    lr: float,
    draws: Draws,
    l2: float = 0.0,
    feed: Callable[[Ensemble, Draws, tuple[Batch, ...]], tuple] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = SGD,
    schedule: Callable[[float], float] = constant,
) -> Result:
    """Copies of the models after `steps` gradient steps on `objective`.

    Args:
        problem: rows come from its train data.
        models: not changed.
        given: its mask is honoured.
        objective: `objective(model, *batches)` -> scalar, for one member; the batches are those
            of the plans (or what `feed` made of them).
        plans: of the members' draws: streams of row numbers (members, B), zipped step by step.
        steps: gradient steps.
        lr: learning rate.
        draws: of this method and seed.
        l2: weight of l2/2 |theta|^2, where the objective is the training loss.
        feed: of the group, its draws at a step and the batches: what the objective is given.
        optimizer: takes named parameters and lr.
        schedule: progress -> factor on lr.
    """
    if not len(problem.forget):
        return unchanged(models, "there were no rows to forget")
    precision = problem.recipe.precision if isinstance(problem.recipe, Recipe) else "fp32"
    parts, cost = [], Cost()
    for group in models.groups():
        own = draws.of(group.ids)
        streams = [islice(plan, steps) for plan in plans(own)]
        feeds: Any = zip(*(_batches(problem, group, plan, own) for plan in streams), strict=True)
        if feed is not None:
            feeds = (
                feed(group, own.at("feed", step), batches) for step, batches in enumerate(feeds)
            )
        spent = descend(
            group,
            objective,
            feeds,
            steps=steps,
            optimizer=partial(optimizer, lr=lr),
            draws=draws,
            schedule=schedule,
            l2=l2,
            mask=given.mask,
            precision=precision,
        )
        parts.append(group)
        cost = replace(spent, seconds=cost.seconds + spent.seconds)
    tuned = Ensemble.concat(parts)
    cost = replace(cost, seconds=cost.seconds / len(models))
    return Result(tuned, cost, largest_change(models, tuned))


def penalty_of(problem: Problem) -> float:
    """The recipe's l2, kept by every method that goes on with the training loss; 0 if unknown."""
    return problem.recipe.l2 if isinstance(problem.recipe, Recipe) else 0.0


def passes(rows: Tensor, batch_size: int, epochs: int) -> tuple[int, int]:
    """Steps and rows a step of `epochs` passes over these rows; see `loop.epochs`."""
    size = min(batch_size, len(rows))
    return (epochs * (len(rows) // size), size) if size else (0, 0)


def descent_cost(steps: int, rows_a_step: int) -> Cost:
    """What so many gradient steps read."""
    return Cost(steps * rows_a_step, steps * rows_a_step)


def _batches(
    problem: Problem, group: Ensemble, plan: Iterator[Tensor], draws: Draws
) -> Iterator[Batch]:
    planned = (rows.to(group.device) for rows in plan)
    for step, batch in enumerate(problem.train.batches(planned)):
        yield problem.task.prepare(batch, draws.at("prepare", step), training=True)
