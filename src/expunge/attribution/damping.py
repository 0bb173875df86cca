"""How strongly training holds on to where it began: the damping of leave-set-out, from the recipe.

Training for a limited time reaches only directions along which the loss is curved enough. Of plain
gradient descent for a time t, the sum of all learning rates, the effect of a force f along a
direction of curvature h is f (1 - exp(-h t)) / h. A damped inverse f / (h + c) is close to that
(Ali et al. 2019, arXiv 1810.10082, on early stopping and ridge regression), and equal at h = 1/t,
where the filter bends, for c = 0.58 / t. So the damping is that plus the recipe's l2 and the
optimizer's weight decay: nothing is to be tuned. An optimizer that divides by the size of gradients
(Adam) travels as plain descent would with its rate divided by that size, which is measured on
batches. Clipping of gradients is left out of account.
"""

from math import exp
from typing import NamedTuple

import torch
from torch import Tensor, nn

from expunge.curvature.point import Point
from expunge.errors import BadInput
from expunge.problem import Problem, Recipe
from expunge.rng import Draws

KNEE = 1 / (1 - exp(-1)) - 1  # 1 / (1 + KNEE) = 1 - exp(-1): equal at h = 1/t
BATCHES = 8  # on which the size of gradients is measured
UNIT = 1e-3  # gradient that an optimizer is tried with


class Travel(NamedTuple):
    """How far training goes, by its optimizer and schedule alone; the same for all models."""

    path: float  # of a weight under a gradient of UNIT that never changes
    # rows whose gradients `damping_of` reads; 0 where twice as much goes twice as far
    measured: int


def travel(problem: Problem, rows: int | None = None) -> Travel:
    """How far the problem's recipe goes.

    Args:
        problem: with a Recipe.
        rows: how many are trained on; default all that are present.

    Raises:
        BadInput: a problem without a Recipe.
    """
    recipe = recipe_of(problem)
    rows = len(problem.present_rows) if rows is None else rows
    path, twice = _distances(recipe, rows, (UNIT, 2 * UNIT))
    if not path:
        raise BadInput(
            "a recipe whose learning rates are 0 at every step, so that nothing is trained",
            expected="a schedule above 0 at some step",
            fix="train for more steps, or name the damping: --attribution linearised:damping=0.01",
        )
    plain = abs(twice / path - 2) < 0.1
    return Travel(path, 0 if plain else min(rows, BATCHES * recipe.batch_size))


def damping_of(problem: Problem, point: Point, draws: Draws, travelled: Travel) -> float:
    """The damping that the problem's recipe implies for one model."""
    recipe, (path, count) = recipe_of(problem), travelled
    size = _gradient_size(problem, point, count, recipe.batch_size, draws) if count else UNIT
    return KNEE * size / path + recipe.l2 + _decay(recipe, size)


def _decay(recipe: Recipe, size: float) -> float:
    """The optimizer's weight decay as an l2 penalty: coupled as SGD has it, or apart as AdamW."""
    optimizer = recipe.optimizer([("weight", nn.Parameter(torch.zeros(1)))])
    group = optimizer.param_groups[0]
    decay = float(group.get("weight_decay", 0.0))
    apart = isinstance(optimizer, torch.optim.AdamW) or group.get("decoupled_weight_decay", False)
    return decay * size if apart else decay


def recipe_of(problem: Problem) -> Recipe:
    """The problem's Recipe, or BadInput that says what it was needed for."""
    if problem.training.stepwise:
        return problem.stepwise_recipe
    raise BadInput(
        "a problem without a Recipe, from which the damping follows",
        expected="Problem(..., recipe=Recipe(...)), or the damping as a number",
        fix="name it: --attribution linearised:damping=0.01",
    )


def _distances(recipe: Recipe, rows: int, gradients: tuple[float, ...]) -> list[float]:
    """How far weights go in one training, each under a gradient of its own that never changes."""
    weights = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in gradients]
    # one pass for all: a training on a million rows has many steps, and they are walked one by one
    optimizer = recipe.optimizer([(f"{k}.weight", weight) for k, weight in enumerate(weights)])
    rates, steps = [group["lr"] for group in optimizer.param_groups], recipe.steps(rows)
    # decay in the optimizer pulls back, and is no part of how far the gradient pushes
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * recipe.schedule(step / steps)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    return [abs(weight.item()) for weight in weights]


def _gradient_size(
    problem: Problem, point: Point, count: int, batch_size: int, draws: Draws
) -> float:
    """Root mean square, over weights and batches, of the gradient of a batch's mean loss."""
    rows = problem.present_rows[draws.at("batches").permutation(len(problem.present_rows))]
    total, numbers = 0.0, 0
    for batch in rows[:count].split(batch_size):
        for g in point.gradient(batch).values():
            total += float((g / len(batch)).square().sum())
            numbers += g.numel()
    return (total / numbers) ** 0.5


def sample_of(rows: Tensor, count: int, draws: Draws) -> Tensor:
    """That many of these rows at random, in their order; all, if there are no more."""
    return rows[draws.at("sample").permutation(len(rows))[:count]].sort().values
