"""The other shape of methods: one edit of the weights, computed from curvature, model by model."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor

from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.engine.descend import frozen_weights, require_finite, restore
from expunge.engine.ensemble import Ensemble
from expunge.methods.finetune import mask_of
from expunge.methods.method import MethodInputs, Result, largest_change, unchanged
from expunge.problem import Problem
from expunge.rng import Draws


def edit(
    problem: Problem,
    models: Ensemble,
    inputs: MethodInputs,
    edited: Callable[[Point, Draws], Weights],
    *,
    draws: Draws,
    cost: Cost,
    reason: str = "",
) -> Result:
    """Copies of the models with new weights; buffers (batch norm's statistics) stay.

    Args:
        problem: rows come from its train data.
        models: not changed.
        inputs: its mask is honoured.
        edited: of one model, whose loss is that of the training, and its draws, the new weights by
            name.
        draws: of this method and seed.
        cost: rows that `edited` reads for one model.
        reason: why no weight may have changed at all, where that can happen.
    """
    if not len(problem.forget):
        return unchanged(models, "there were no rows to forget")
    start, parts = perf_counter(), []
    singles = [
        Ensemble.of(module, member)
        for part in models.groups()
        for module, member in zip(part.modules(), part.ids, strict=True)
    ]
    for single in singles:
        frozen = frozen_weights(single, mask_of(inputs.mask, models, single))
        weights = single.weights()
        new = edited(
            Point(problem.training_task, problem.served(), single.template), draws.of(single.ids)
        )
        with torch.no_grad():
            for name, value in new.items():
                weights[name].copy_(value)
        restore(weights, frozen)
        require_finite(
            weights,
            single,
            expected="an edit that leaves finite weights",
            fix="try another --alpha, or look for NaN in the model and its data",
        )
        parts.append(single)
    made = Ensemble.stack([single.template for single in parts], models.ids, models.group)
    changed = largest_change(models, made)
    seconds = (perf_counter() - start) / len(models)
    return Result(made, replace(cost, seconds=seconds), changed, "" if changed else reason)


def sample(rows: Tensor, count: int, draws: Draws) -> Tensor:
    """That many of these rows for one member, in random order; 0 takes all, as they come."""
    if not count or count >= len(rows):
        return rows
    return rows[draws.at("rows").permutation(len(rows))[0][:count]]


def sampled(rows: Tensor, count: int) -> int:
    """How many rows `sample` takes."""
    return min(count or len(rows), len(rows))
