"""Models made by the user's own Trainer: called under seeded generators, one model at a time."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Problem
from expunge.rng import Draws, seeded


def train_by_trainer(
    problem: Problem, rows: Tensor, ids: Sequence[int], draws: Draws, device: str
) -> tuple[Ensemble, Cost]:
    """Train members one by one on `rows`, (n,) or (members, n); what was spent on each.

    Raises:
        BadInput: two members have the very same weights.
    """
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
        fix="build a new model in the Trainer, and do not fix a seed of your own there",
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
            fix="end the Trainer with `return model`",
        )
    return module
