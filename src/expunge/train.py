"""The only maker of many models: originals, oracles, retrained and half-data models."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from expunge.data import Batch, augments_itself
from expunge.ensemble import Ensemble
from expunge.errors import BadInput, nearest
from expunge.halfway import Halfway
from expunge.loop import Cost, descend, epochs
from expunge.problem import Problem
from expunge.recipe import Recipe
from expunge.rng import Draws, seeded

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
    halfway: Halfway | None = None,
) -> tuple[Ensemble, Cost]:
    """Train the members `ids` of a role from scratch.

    Args:
        problem: its recipe or Trainer is run on S for "original", on halves of S for "subset",
            on R for every other role.
        role: one of ROLES.
        ids: member numbers; every draw of a member depends on (seed, role, number) alone.
        seed: the seed of the whole evidence.
        group: members trained at once.
        device: e.g. "cpu" or "cuda".
        halfway: keeps and resumes a training by a recipe of a single group.

    Returns:
        The members, and what was spent on each.

    Raises:
        BadInput: the problem has no recipe; training became NaN; a Trainer that ignores its seed.
    """
    if role not in ROLES:
        raise BadInput(
            f"unknown role '{role}'{nearest(role, ROLES)}",
            expected=f"one of {', '.join(ROLES)}",
            cure="correct the name; it decides which rows are trained on",
        )
    recipe = require_recipe(problem, f"train {role} models")
    draws = Draws((seed, "train", role))
    rows = subset_rows(problem, ids, seed) if role == "subset" else rows_of(problem, role)
    if not isinstance(recipe, Recipe):
        return _by_trainer(problem, rows, ids, draws, device)
    group = 1 if augments_itself(problem.train) else group
    parts, cost = [], Cost()
    for start in range(0, len(ids), group):
        block = tuple(ids[start : start + group])
        own = rows[start : start + group] if role == "subset" else rows
        single = halfway if len(ids) <= group else None
        part, spent = train_group(problem, recipe, own, block, draws, group, device, single)
        parts.append(part)
        cost = replace(spent, seconds=cost.seconds + spent.seconds)
    return Ensemble.concat(parts), replace(cost, seconds=cost.seconds / len(ids))


def rows_of(problem: Problem, role: str) -> Tensor:
    """The rows that a role may train on: S, or R = S without F."""
    return problem.present_rows if role in ON_ALL else problem.retain


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
        if isinstance(problem.recipe, Recipe):
            return problem.recipe.build()
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
            cure="add Problem(..., recipe=Recipe(build=...)), or choose another method",
        )
    return module


def require_recipe(problem: Problem, purpose: str) -> Any:
    """The problem's recipe or Trainer, or BadInput that says what it was needed for."""
    if problem.recipe is None:
        raise BadInput(
            f"the problem has no recipe, which is needed to {purpose}",
            expected="Problem(..., recipe=Recipe(...)) or a Trainer",
            cure="add the recipe, or choose a method that does not retrain",
        )
    return problem.recipe


def retrain_units(problem: Problem) -> int | None:
    """Row units of one retraining, 3 x epochs x |R|; None where a Trainer has no `epochs`."""
    passes = getattr(problem.recipe, "epochs", None)
    return None if passes is None else 3 * passes * len(problem.retain)


def train_group(
    problem: Problem,
    recipe: Recipe,
    rows: Tensor,
    ids: Sequence[int],
    draws: Draws,
    group: int,
    device: str,
    halfway: Halfway | None = None,
) -> tuple[Ensemble, Cost]:
    """Train one group by a recipe on `rows`, (n,) or (members, n); see `train`."""
    modules = []
    for k, member in enumerate(ids):
        with seeded(draws.of([member]).at("build").seeds()[0]):
            module = recipe.build()
            if recipe.fit is not None:
                recipe.fit(module, problem.train, rows if rows.ndim == 1 else rows[k])
        modules.append(module.to(device))
    models = Ensemble.stack(modules, ids, group)
    plan = epochs(rows, recipe.batch_size, recipe.epochs, draws.of(ids).at("order"))
    done = halfway.spent.steps if halfway else 0
    feeds = training_feeds(problem, recipe, islice(plan, done, None), draws.of(ids), device, done)
    cost = descend_by_recipe(models, problem, recipe, feeds, rows.shape[-1], draws, halfway)
    return models, cost


def training_feeds(
    problem: Problem,
    recipe: Recipe,
    plan: Iterable[Tensor],
    draws: Draws,
    device: str,
    first: int = 0,
) -> Iterator[tuple[Batch]]:
    """The batches of a plan as the recipe trains on them from step `first`: prepared, augmented."""
    planned = (rows.to(device) for rows in plan)
    for step, batch in enumerate(problem.train.batches(planned, training=True), start=first):
        ready = problem.task.prepare(batch, draws.at("prepare", step), training=True)
        yield (
            ready if recipe.augment is None else recipe.augment(ready, draws.at("augment", step)),
        )


def descend_by_recipe(
    models: Ensemble,
    problem: Problem,
    recipe: Recipe,
    feeds: Iterable[tuple[Batch]],
    rows: int,
    draws: Draws,
    halfway: Halfway | None = None,
) -> Cost:
    """Train one group in place as the recipe says, its moving average of weights included."""
    task = problem.task

    def objective(model: Any, batch: Batch) -> Tensor:
        outputs = task.outputs(model, batch)
        losses = task.loss(outputs, batch)
        return (
            losses if recipe.penalty is None else losses + recipe.penalty(outputs, batch)
        ).mean()

    average = {name: w.detach().clone() for name, w in models.weights().items()}

    if halfway is not None:
        own = models.tensors() if models.stacked is None else models.stacked
        halfway.live |= {f"model/{name}": tensor.detach() for name, tensor in own.items()}
        halfway.live |= {f"average/{name}": tensor for name, tensor in average.items()}

    def follow(step: int, models: Ensemble) -> None:
        for name, weight in models.weights().items():
            average[name].lerp_(weight.detach(), 1.0 - (recipe.ema or 0.0))

    cost = descend(
        models,
        objective,
        feeds,
        steps=recipe.steps(rows),
        optimizer=recipe.optimizer,
        draws=draws,
        schedule=recipe.schedule,
        l2=recipe.l2,
        clip=recipe.clip,
        precision=recipe.precision,
        after=None if recipe.ema is None else follow,
        halfway=halfway,
    )
    if recipe.ema is not None:
        with torch.no_grad():
            for name, weight in models.weights().items():
                weight.copy_(average[name])
    return cost


def _by_trainer(
    problem: Problem, rows: Tensor, ids: Sequence[int], draws: Draws, device: str
) -> tuple[Ensemble, Cost]:
    start = perf_counter()
    modules = []
    for k, member in enumerate(ids):
        own = rows if rows.ndim == 1 else rows[k]
        modules.append(
            call_trainer(problem, problem.train, own, draws.of([member]).seeds()[0], device)
        )
    first, *others = (Ensemble.of(module).tensors() for module in modules)
    for other in others:
        if all(torch.equal(first[name], other[name]) for name in first):
            raise same_weights()
    passes = getattr(problem.recipe, "epochs", None)
    read = 0 if passes is None else passes * rows.shape[-1]
    models = Ensemble.stack(modules, ids, group=1)
    return models, Cost(read, read, (perf_counter() - start) / len(ids))


def same_weights() -> BadInput:
    """The error for a Trainer that does not train from its seed."""
    return BadInput(
        "the Trainer gave the very same weights for two seeds",
        expected="a model trained from scratch from each seed",
        cure="build a new model in the Trainer, and do not fix a seed of your own there",
    )


def call_trainer(problem: Problem, data: Any, rows: Tensor, seed: int, device: str) -> nn.Module:
    """One training by the user's own Trainer, under seeded global generators."""
    short = seed % 2**31  # what every library accepts
    trainer: Any = problem.recipe
    with seeded(short):
        module = trainer(data, rows, seed=short, device=device)
    if not isinstance(module, nn.Module):
        raise BadInput(
            f"the Trainer returned a {type(module).__name__}",
            expected="the trained torch.nn.Module",
            cure="end the Trainer with `return model`",
        )
    return module
