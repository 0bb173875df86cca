"""How many members to train at once: whether they may share a group, and what size is fastest."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from expunge.data import augments_itself
from expunge.ensemble import LARGEST_GROUP, Ensemble
from expunge.errors import BadInput, first_line
from expunge.problem import Problem
from expunge.recipe import Recipe
from expunge.rng import Draws
from expunge.train import train_group

SIZES = (1, 5, 20, 50)
# run(member numbers, steps, grouped) -> the trained parts, seconds
Run = Callable[[Sequence[int], int, bool], tuple[list[Ensemble], float]]


def choose_group(problem: Problem, device: str) -> tuple[int, str]:
    """How many members to train at once, at most 50, and the reason."""
    recipe = problem.recipe
    if not isinstance(recipe, Recipe):
        return 1, "a Trainer trains one model at a time"
    if augments_itself(problem.train):
        return 1, "the data set augments rows itself, with draws that a group would share"

    def run(ids: Sequence[int], steps: int, grouped: bool) -> tuple[list[Ensemble], float]:
        rows = torch.arange(min(recipe.batch_size, len(problem.validation)))
        probe = replace(problem, train=problem.validation, present=None, forget=rows[:0], ids=None)
        short = replace(recipe, epochs=steps, batch_size=max(1, len(rows)), fit=None)
        blocks = [tuple(ids)] if grouped else [(i,) for i in ids]
        found, seconds = [], 0.0
        for block in blocks:
            part, cost = train_group(
                probe, short, rows, block, Draws((0, "grouping")), len(block), device
            )
            if steps == 1:  # a group must also be able to answer
                part.outputs(problem.task, problem.validation, rows)
            found.append(part)
            seconds += cost.seconds
        return found, seconds

    why = refusal(run)
    return (1, why) if why else timed_group(run, LARGEST_GROUP)


def refusal(run: Run) -> str:
    """Why these models cannot run as a group, or "".

    One step is done both ways on two members. Where vmap refuses (LSTM, dropout, a padding mask)
    or anything but rounding differs (a buffer that forward re-assigns is lost without a word),
    members run one by one.
    """
    apart, _ = run((0, 1), 1, False)
    try:
        (together,), _ = run((0, 1), 1, True)
    except BadInput:
        raise
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        return f"torch.func.vmap refuses the model: {first_line(error)}"
    for k, single in enumerate(apart):
        alone = single.tensors()
        grads = {name: w.grad for name, w in single.weights().items() if w.grad is not None}
        largest = max((float(grad.abs().max()) for grad in grads.values()), default=0.0)
        for name, value in together.tensors().items():
            a, b = alone[name][0].cpu().double(), value[k].cpu().double()
            if name in grads:  # Adam makes a full step of a vanishing gradient's rounding
                large = grads[name].cpu().abs() > 1e-3 * largest
                a, b = a[large], b[large]
            if not torch.allclose(a, b, rtol=1e-3, atol=1e-5):
                return f"'{name}' differs between one model alone and the same model in a group"
    return ""


def timed_group(run: Run, largest: int) -> tuple[int, str]:
    """The group size of least time a member, tried upwards until it slows, and the timings."""
    best, seconds, tried = 1, float("inf"), []
    for size in (s for s in SIZES if s <= largest):
        ids = tuple(range(size))
        run(ids, 1, True)  # the first call compiles and allocates
        now = min(run(ids, 4, True)[1] for _ in range(3)) / size / 4
        tried.append(f"{size}: {now * 1e6:.0f}")
        if now > seconds:
            break
        best, seconds = size, now
    return best, "microseconds a step and member by group size: " + ", ".join(tried)
