"""The shape that most methods share: one loss over forget and retain batches inside `descend`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from expunge.data import Batch
from expunge.engine.cost import Cost
from expunge.engine.descend import descend
from expunge.engine.ensemble import Ensemble
from expunge.methods.method import MethodInputs, Result, largest_change, unchanged
from expunge.problem import Problem
from expunge.rng import Draws

# Momentum 0.9, as the published code of all methods that descend with SGD has it.
SGD = partial(torch.optim.SGD, momentum=0.9)

# Of one group as it was before (a copy): what is called after each step, or looks on.
Hook = Callable[[Ensemble], Callable[[int, Ensemble], None]]


def finetune(
    problem: Problem,
    models: Ensemble,
    inputs: MethodInputs,
    objective: Callable[..., Tensor],
    plans: Callable[[Draws], Sequence[Iterator[Tensor]]],
    *,
    steps: int,
    lr: float,
    draws: Draws,
    feed: Callable[[Ensemble, Draws, tuple[Batch, ...]], tuple] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = SGD,
    augment: bool = True,
    after: Hook | None = None,
    watch: Hook | None = None,
    replayable: bool = True,
    **how: Any,
) -> Result:
    """Copies of the models after `steps` gradient steps on `objective`.

    Args:
        problem: rows come from its train data.
        models: not changed.
        inputs: its mask is honoured, its `watch` called.
        objective: `objective(model, *batches)` -> scalar, for one member; the batches are those
            of the plans (or what `feed` made of them).
        plans: of the members' draws: streams of row numbers (members, B), zipped step by step.
        steps: gradient steps.
        lr: learning rate.
        draws: of this method and seed.
        feed: of the group as it was before, its draws at a step and the batches: what the
            objective is given.
        optimizer: takes named parameters and lr.
        augment: batches are augmented as in the recipe; not for targets of clean rows.
        after: see `descend`.
        watch: see `descend`; default `inputs.watch`.
        replayable: see `descend`; False where the objective counts steps or draws numbers.
        how: passed on to `descend`: l2, l1, schedule, strict.
    """
    if not len(problem.forget):
        return unchanged(models, "there were no rows to forget")
    watch = watch or inputs.watch
    parts, cost = [], Cost()
    for group, before in zip(models.groups(), models.groups(), strict=True):
        own = draws.of(group.ids)
        streams = [islice(plan, steps) for plan in plans(own)]
        feeds: Any = zip(
            *(
                _batches(problem, augment, group, plan, own, stream)
                for stream, plan in enumerate(streams)
            ),
            strict=True,
        )
        if feed is not None:
            feeds = (
                feed(before, own.at("feed", step), batches) for step, batches in enumerate(feeds)
            )
        spent = descend(
            group,
            objective,
            feeds,
            steps=steps,
            optimizer=partial(optimizer, lr=lr),
            draws=draws,
            mask=mask_of(inputs.mask, models, group),
            precision=problem.training.precision,
            after=after(before) if after else None,
            watch=watch(before) if watch else None,
            replayable=replayable,
            **how,
        )
        parts.append(group)
        cost = replace(spent, seconds=cost.seconds + spent.seconds)
    tuned = Ensemble.concat(parts)
    cost = replace(cost, seconds=cost.seconds / len(models))
    return Result(tuned, cost, largest_change(models, tuned))


def mask_of(
    mask: Mapping[str, Tensor] | None, models: Ensemble, group: Ensemble
) -> dict[str, Tensor] | None:
    """The part of a mask that concerns one group, where each member has its own."""
    if mask is None:
        return None
    shapes = {name: p.shape for name, p in models.template.named_parameters()}
    place = [models.ids.index(member) for member in group.ids]
    own = {
        name: may_move.shape == (len(models), *shapes.get(name, ()))
        for name, may_move in mask.items()
    }
    return {name: may_move[place] if own[name] else may_move for name, may_move in mask.items()}


def penalty_of(problem: Problem) -> float:
    """The recipe's l2, kept by every method that goes on with the training loss; 0 if unknown."""
    return problem.training.l2


def passes(rows: Tensor, batch_size: int, epochs: int) -> tuple[int, int]:
    """Steps and rows a step of `epochs` passes over these rows; see `batches.epochs`."""
    size = min(batch_size, len(rows))
    return (epochs * (len(rows) // size), size) if size else (0, 0)


def descent_cost(steps: int, rows_a_step: int) -> Cost:
    """What so many gradient steps read."""
    return Cost(steps * rows_a_step, steps * rows_a_step)


def _batches(
    problem: Problem,
    augment: bool,
    group: Ensemble,
    plan: Iterator[Tensor],
    draws: Draws,
    stream: int,
) -> Iterator[Batch]:
    """The batches of a plan, prepared, and augmented as in training if asked.

    Streams draw apart: retained and forgotten rows of one step share no noise.
    """
    planned = (rows.to(group.device) for rows in plan)
    augment = augment and problem.training.stepwise
    for step, batch in enumerate(problem.served().batches(planned, training=augment)):
        ready = problem.task.prepare(batch, draws.at("prepare", stream, step), training=True)
        if augment and problem.training.augment is not None:
            ready = problem.training.augment(ready, draws.at("augment", stream, step))
        yield ready
