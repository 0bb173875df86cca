"""The only place that makes many models: originals, oracles, retrained and half-data models."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from expunge.data import Batch
from expunge.engine.batches import epochs
from expunge.engine.cost import Cost
from expunge.engine.descend import descend
from expunge.engine.ensemble import Ensemble, StorableModels
from expunge.errors import BadInput, nearest
from expunge.problem import Problem, Task, Training
from expunge.rng import Draws, seeded
from expunge.store.checkpoint import Checkpoint
from expunge.training.from_trainer import FromTrainer

Watch = Callable[[int, Ensemble], None]  # looks on with the number of steps done; see `descend`
ON_ALL = ("original", "subset")  # roles that train on S (or on halves of it); all others on R
ROLES = (*ON_ALL, "oracle", "null", "teacher", "retrain")  # each has its own stream of draws


def train(
    problem: Problem,
    role: str,
    ids: Sequence[int],
    *,
    seed: int,
    group: int = 1,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> tuple[StorableModels, Cost]:
    """Train the members `ids` of a role from scratch.

    Args:
        problem: its recipe or Trainer is run on S for "original", on halves of S for "subset",
            on R for every other role.
        role: one of ROLES.
        ids: member numbers; every draw of a member depends on (seed, role, number) alone.
        seed: the seed of the whole evidence.
        group: members trained at once.
        device: e.g. "cpu" or "cuda".
        checkpoint: keeps and resumes a training by a recipe of a single group.

    Returns:
        The members, and what was spent on each.

    Raises:
        BadInput: the problem has no recipe; training became NaN; a Trainer that ignores its seed.
    """
    if role not in ROLES:
        raise BadInput(
            f"unknown role '{role}'{nearest(role, ROLES)}",
            expected=f"one of {', '.join(ROLES)}",
            fix="correct the name; it decides which rows are trained on",
        )
    training = require_training(problem, f"train {role} models")
    draws = Draws((seed, "train", role))
    rows = subset_rows(problem, ids, seed) if role == "subset" else rows_of(problem, role)
    if not training.stepwise:
        return training(trained_on(problem, rows), rows, ids, draws, device)
    group = 1 if problem.train.augments or problem.train.linked else group
    parts, cost = [], Cost()
    for start in range(0, len(ids), group):
        block = tuple(ids[start : start + group])
        own = rows[start : start + group] if role == "subset" else rows
        single = checkpoint if len(ids) <= group else None
        seen = trained_on(problem, own)
        part, spent = train_group(seen, own, block, draws, group, device, single)
        parts.append(part)
        cost = replace(spent, seconds=cost.seconds + spent.seconds)
    return Ensemble.concat(parts), replace(cost, seconds=cost.seconds / len(ids))


def rows_of(problem: Problem, role: str) -> Tensor:
    """The rows that a role may train on: S, or R = S without F."""
    return problem.present_rows if role in ON_ALL else problem.retain


def trained_on(problem: Problem, rows: Tensor) -> Problem:
    """The problem as a model trained on these rows sees it: linked rows hold nothing of others."""
    if not problem.train.linked:
        return problem
    present = problem.mask_of(rows.flatten())
    return replace(problem, present=present, forget=problem.forget[:0])


def on_validation(problem: Problem) -> Problem:
    """The problem with its validation rows, which every model may see, in the place of others."""
    gone = {"test": None, "present": None, "forget": problem.forget[:0], "ids": None}
    return replace(problem, train=problem.validation, **gone)


def subset_rows(problem: Problem, ids: Sequence[int], seed: int) -> Tensor:
    """The half of S that each of these half-data models trains on, int64, (members, |S| // 2)."""
    present = problem.present_rows
    order = Draws((seed, "half")).of(ids).permutation(len(present))
    return present[order[:, : len(present) // 2].sort(dim=1).values]


def untrained(problem: Problem, template: nn.Module, seed: int) -> nn.Module:
    """A model as it is before any training, from this seed.

    Built by the recipe; for a Trainer, or without a recipe, a copy of the template with every
    submodule's `reset_parameters` called.

    Raises:
        BadInput: no recipe, and a parameter that no `reset_parameters` draws again.
    """
    with seeded(seed):
        if problem.training.stepwise:
            return problem.stepwise_recipe.build()
        module = copy.deepcopy(template)
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        with torch.no_grad():
            for part in module.modules():
                if callable(reset := getattr(part, "reset_parameters", None)):
                    reset()
    kept = [n for n, p in module.named_parameters() if p.ndim > 1 and torch.equal(p, before[n])]
    if kept:
        raise BadInput(
            f"'{kept[0]}' cannot be drawn again for an untrained model",
            expected="a Recipe, or submodules with reset_parameters",
            fix="add Problem(..., recipe=Recipe(build=...)), or choose another method",
        )
    return module


def require_training(problem: Problem, purpose: str) -> Training:
    """How the problem's models are trained, or BadInput that says what it was needed for."""
    if problem.recipe is None:
        raise BadInput(
            f"the problem has no recipe, which is needed to {purpose}",
            expected="Problem(..., recipe=Recipe(...)) or a Trainer",
            fix="add the recipe, or choose a method that does not retrain",
        )
    known = problem.recipe
    return known if isinstance(known, Training) else FromTrainer(known)


def retrain_units(problem: Problem) -> int | None:
    """Row units of one retraining, 3 x epochs x |R|; None where a Trainer has no `epochs`."""
    passes = problem.training.epochs
    return None if passes is None else 3 * passes * len(problem.retain)


def train_group(
    problem: Problem,
    rows: Tensor,
    ids: Sequence[int],
    draws: Draws,
    group: int,
    device: str,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> tuple[Ensemble, Cost]:
    """Train one group by the recipe on `rows`, (n,) or (members, n); see `train` and `descend`."""
    models = fresh(problem, rows, ids, draws, group, device)
    done = checkpoint.spent.steps if checkpoint else 0
    plan = islice(planned(problem, rows, draws.of(ids)), done, None)
    feeds = training_feeds(problem, plan, draws.of(ids), device, done)
    cost = descend_by_recipe(models, problem, feeds, rows.shape[-1], draws, checkpoint, watch)
    return models, cost


def built(problem: Problem, rows: Tensor, seed: int) -> nn.Module:
    """A fresh model of the recipe from this seed, fitted on these rows."""
    recipe = problem.stepwise_recipe
    with seeded(seed):
        module = recipe.build()
        if recipe.fit is not None:  # it may freeze parameters or add buffers
            recipe.fit(module, problem.train, rows)
    return module


def fresh(
    problem: Problem, rows: Tensor, ids: Sequence[int], draws: Draws, group: int, device: str
) -> Ensemble:
    """The members of one group before the first step, each built from its seed."""
    seeds, own = draws.of(ids).at("build").seeds(), rows.expand(len(ids), rows.shape[-1])
    modules = [built(problem, r, seed).to(device) for r, seed in zip(own, seeds, strict=True)]
    return Ensemble.stack(modules, ids, group)


def planned(problem: Problem, rows: Tensor, draws: Draws) -> Iterator[Tensor]:
    """The row numbers of each step, (members, B), of a training with the draws of some members."""
    recipe, order = problem.stepwise_recipe, draws.at("order")
    return epochs(rows, recipe.batch_size, recipe.epochs, order, reshuffle=recipe.reshuffle)


def training_feeds(
    problem: Problem, plan: Iterable[Tensor], draws: Draws, device: str, first: int = 0
) -> Iterator[tuple[Batch]]:
    """The batches of a plan as the recipe trains on them from step `first`: prepared, augmented."""
    augment = problem.training.augment
    planned = (rows.to(device) for rows in plan)
    for step, batch in enumerate(problem.train.batches(planned, training=True), start=first):
        ready = problem.task.prepare(batch, draws.at("prepare", step), training=True)
        yield (ready if augment is None else augment(ready, draws.at("augment", step)),)


def descend_by_recipe(
    models: Ensemble,
    problem: Problem,
    feeds: Iterable[tuple[Any, ...] | None],
    rows: int,
    draws: Draws,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Cost:
    """Train one group in place as the recipe says, its moving average of weights included.

    A feed is a batch, perhaps with a factor on its mean loss for each member.
    """
    recipe = problem.stepwise_recipe
    average = {name: w.detach().clone() for name, w in models.weights().items()}
    if checkpoint is not None:
        own = models.tensors() if models.stacked is None else models.stacked
        checkpoint.live |= {f"model/{name}": tensor.detach() for name, tensor in own.items()}
        checkpoint.live |= {f"average/{name}": tensor for name, tensor in average.items()}

    def follow(step: int, models: Ensemble) -> None:
        for name, weight in models.weights().items():
            average[name].lerp_(weight.detach(), 1.0 - (recipe.ema or 0.0))

    cost = descend(
        models,
        training_loss(problem.training_task),
        feeds,
        steps=recipe.steps(rows),
        optimizer=recipe.optimizer,
        draws=draws,
        schedule=recipe.schedule,
        l2=recipe.l2,
        clip=recipe.clip,
        precision=recipe.precision,
        after=None if recipe.ema is None else follow,
        watch=watch,
        checkpoint=checkpoint,
        replayable=True,
    )
    if recipe.ema is not None:
        with torch.no_grad():
            for name, weight in models.weights().items():
                weight.copy_(average[name])
    return cost


def training_loss(task: Task) -> Callable[..., Tensor]:
    """The mean loss of one batch, perhaps times a factor: an objective of one model for `descend`.

    Args:
        task: with the recipe's penalty in its loss, see `Problem.training_task`.
    """

    def objective(model: Any, batch: Batch, factor: float | Tensor = 1.0) -> Tensor:
        return task.loss(task.outputs(model, batch), batch).mean() * factor

    return objective
