"""A recipe's name, by what it does: lambdas and an edited `forward` cannot be hashed."""

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from expunge.engine.ensemble import Ensemble, StorableModels
from expunge.errors import BadInput
from expunge.fanout import one_thread
from expunge.problem import Problem, Recipe
from expunge.rng import Draws
from expunge.store import Store, sha256
from expunge.training.from_recipe import (
    built,
    descend_by_recipe,
    on_validation,
    require_training,
    training_feeds,
)
from expunge.training.from_trainer import FromTrainer, require_distinct

PROBE_ROWS = 128  # on so many rows a Trainer is run to recognise it


def recipe_fingerprint(problem: Problem, store: Store, device: str) -> str:
    """The recipe's name: its plain facts, and what two steps on validation rows do.

    Compared are the settings of the optimizer, the shapes and types of the weights, the schedule,
    the fresh weights, and their change in two steps relative to its own size (so that half the
    learning rate is another recipe). A Trainer is known by its `key`, or else by its code, its
    `epochs` and a training on a few rows.
    """
    recipe = require_training(problem, "recognise the training")
    if not recipe.stepwise:
        if recipe.identity:
            return sha256(f"trainer {recipe.identity}".encode())[:20]
        if not isinstance(recipe, FromTrainer):
            raise BadInput(
                f"a training by {type(recipe).__name__} without an identity",
                expected="a text that names the training with its settings",
                fix="set its attribute `identity`; stored models are found by it",
            )
        with one_thread():
            models = probe_models(problem, device)
        facts = {
            "trainer": sha256(_source(recipe.trainer).encode()),
            "epochs": recipe.epochs,
            "state": _shapes(models),
        }
        return store.identify("recipes", _sketch(models), facts)
    recipe = problem.stepwise_recipe
    names = ("epochs", "batch_size", "l2", "clip", "ema", "key", "precision")
    facts = {name: getattr(recipe, name) for name in names}
    if not recipe.reshuffle:  # two steps on one batch do not show it
        facts["reshuffle"] = False
    rows = torch.arange(min(recipe.batch_size, len(problem.validation)))
    short = replace(recipe, epochs=2, batch_size=max(1, len(rows)))
    probe = replace(on_validation(problem), recipe=short)
    draws = Draws((0, "recognise"))
    with one_thread():
        module = built(probe, rows, seed=0).to(device)
        facts["optimizer"] = _optimizer(recipe, module)
        models = Ensemble.of(module)
        facts["state"] = _shapes(models)
        before = _sketch(models)
        feeds = training_feeds(probe, [rows[None]] * 2, draws.of([0]), device)
        descend_by_recipe(models, probe, feeds, len(rows), draws)
    change = _sketch(models) - before
    relative = change / change.abs().max().clamp_min(1e-300)
    schedule = torch.tensor([recipe.schedule(i / 100) for i in range(101)], dtype=torch.float64)
    size = change.abs().max().clamp_min(1e-300).log()[None]  # 1e-4 of a logarithm is 1e-4 relative
    numbers = torch.cat([before, relative, size, schedule])
    return store.identify("recipes", numbers, facts)


def probe_models(problem: Problem, device: str, seed: int = 0) -> StorableModels:
    """A model trained, by no Recipe, on a few validation rows, which no request ever removes."""
    rows = torch.arange(min(PROBE_ROWS, len(problem.validation)))
    training = require_training(problem, "train a model on a few rows")
    if isinstance(training, FromTrainer):
        return Ensemble.of(training.module(problem.validation, rows, seed, device))
    return training(on_validation(problem), rows, (0,), Draws((seed, "probe")), device)[0]


def require_seeded(problem: Problem, device: str) -> None:
    """Raise BadInput where a Trainer gives the same weights for two seeds, before any is kept."""
    with one_thread():
        require_distinct([probe_models(problem, device, seed).tensors() for seed in (0, 1)])


def _source(trainer: Any) -> str:
    """The text of the Trainer's own code, or "" where Python cannot find it."""
    try:
        return inspect.getsource(trainer if inspect.isfunction(trainer) else type(trainer))
    except (OSError, TypeError):
        return ""


def _optimizer(recipe: Recipe, module: nn.Module) -> list:
    """The optimizer's class and every setting of each group of parameters, as text."""
    made = recipe.optimizer(list(Ensemble.of(module).weights().items()))
    plain = [{k: repr(v) for k, v in g.items() if k != "params"} for g in made.param_groups]
    return [type(made).__name__, plain]


def _shapes(models: StorableModels) -> list:
    """Name, shape and type of every parameter and buffer."""
    tensors = models.tensors()
    return [[name, list(t.shape[1:]), str(t.dtype)] for name, t in tensors.items()]


def _sketch(models: StorableModels) -> Tensor:
    """A few numbers of each parameter and buffer, float64: mean, root mean square, first values."""
    pieces = []
    for tensor in models.tensors().values():
        flat = tensor.flatten().cpu().double()
        if len(flat):
            pieces += [flat.mean()[None], flat.square().mean().sqrt()[None], flat[:64]]
    return torch.cat(pieces)
