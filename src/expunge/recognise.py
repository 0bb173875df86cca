"""A recipe's name, by what it does: lambdas and an edited `forward` cannot be hashed."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from expunge.ensemble import Ensemble
from expunge.fanout import one_thread
from expunge.problem import Problem
from expunge.recipe import Recipe
from expunge.rng import Draws, seeded
from expunge.store import Store, sha256
from expunge.train import (
    call_trainer,
    descend_by_recipe,
    require_recipe,
    same_weights,
    training_feeds,
)

PROBE_ROWS = 32  # on so many rows a Trainer is run to recognise it


def recognise(problem: Problem, store: Store, device: str) -> str:
    """The recipe's name: from weights after build and after two steps, and the schedule.

    Lambdas and an edited `forward` cannot be hashed, so behaviour is compared (see
    `Store.identify`). A Trainer is known by its `key`, or by a training on a few rows.
    """
    recipe = require_recipe(problem, "recognise the training")
    if not isinstance(recipe, Recipe):
        named = getattr(recipe, "key", None)
        if named is not None:
            return sha256(f"trainer {named}".encode())[:20]
        with one_thread():
            numbers = _sketch(probe_trainer(problem, device))
        return store.identify("recipes", numbers, {"trainer": True})
    facts = {
        name: getattr(recipe, name) for name in ("epochs", "batch_size", "l2", "clip", "ema", "key")
    }
    facts["precision"] = recipe.precision
    rows = torch.arange(min(recipe.batch_size, len(problem.validation)))
    probe = replace(problem, train=problem.validation, present=None, forget=rows[:0], ids=None)
    draws = Draws((0, "recognise"))
    with one_thread():
        with seeded(0):
            module = recipe.build()
            if recipe.fit is not None:
                recipe.fit(module, problem.validation, rows)
        module = module.to(device)
        before = _sketch(module)
        feeds = training_feeds(probe, recipe, [rows[None]] * 2, draws.of([0]), device)
        short = replace(recipe, epochs=2, batch_size=max(1, len(rows)))
        models = Ensemble.of(module)
        descend_by_recipe(models, probe, short, feeds, len(rows), draws)
    schedule = torch.tensor([recipe.schedule(i / 100) for i in range(101)], dtype=torch.float64)
    numbers = torch.cat([before, _sketch(models.template), schedule])
    return store.identify("recipes", numbers, facts)


def probe_trainer(problem: Problem, device: str, seed: int = 0) -> nn.Module:
    """A training on a few validation rows, which no request ever removes."""
    rows = torch.arange(min(PROBE_ROWS, len(problem.validation)))
    return call_trainer(problem, problem.validation, rows, seed, device)


def require_seeded(problem: Problem, device: str) -> None:
    """Raise BadInput where a Trainer gives the same weights for two seeds, before any is kept."""
    with one_thread():
        first, second = (
            Ensemble.of(probe_trainer(problem, device, seed)).tensors() for seed in (0, 1)
        )
    if all(torch.equal(first[name], second[name]) for name in first):
        raise same_weights()


def _sketch(module: nn.Module) -> Tensor:
    """A few numbers of each parameter and buffer, float64: mean, root mean square, first values."""
    pieces = []
    for tensor in Ensemble.of(module).tensors().values():
        flat = tensor.flatten().double().cpu()
        if len(flat):
            pieces += [flat.mean()[None], flat.square().mean().sqrt()[None], flat[:64]]
    return torch.cat(pieces)
