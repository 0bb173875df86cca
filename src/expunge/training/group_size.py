"""How members are trained fastest: whether they may share a group, of what size, in what layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from torch import nn

from expunge.engine.ensemble import LARGEST_GROUP, Ensemble
from expunge.engine.replay import LEAST
from expunge.errors import BadInput, first_line
from expunge.problem import Problem
from expunge.rng import Draws, seeded
from expunge.training.from_recipe import on_validation, train_group

NEAR = 0.1  # a smaller group that is so little slower leaves work for more processes
SLOW = 0.03  # seconds a step: what Python spends on it no longer matters
SIZES = (1, 2, 5, 10, 20, 50)
# run(member numbers, steps, grouped) -> the trained parts, seconds a step
Run = Callable[[Sequence[int], int, bool], tuple[list[Ensemble], float]]


class GroupSize(NamedTuple):
    """How members of a recipe are trained fastest on a machine.

    Attributes:
        group: members at once.
        channels_last: whether a model alone has its convolutions' weights with channels last.
        refused: why members must run alone; "" where they may run together.
        timings: what was measured, in words.
    """

    group: int
    channels_last: bool = False
    refused: str = ""
    timings: str = ""

    def describe(self) -> str:
        """In words."""
        many = f"in groups of {self.group}" if self.group > 1 else "one by one"
        last = ", with channels last" if self.channels_last else ""
        why = f"{self.refused}; " if self.refused else ""
        return f"Models are trained {many}{last} ({why}{self.timings})"


@dataclass(frozen=True)
class ChannelsLast:
    """Builds what another `build` does, its convolutions' weights with channels last in memory.

    The numbers are the same but for rounding, and many kernels are faster.
    """

    build: Callable[[], nn.Module]

    def __call__(self) -> nn.Module:
        """A fresh model."""
        return self.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def with_channels_last(problem: Problem) -> Problem:
    """The problem with a recipe that builds models with channels last."""
    recipe = problem.stepwise_recipe
    return replace(problem, recipe=replace(recipe, build=ChannelsLast(recipe.build)))


def choose_group(problem: Problem, device: str) -> GroupSize:
    """The choice for a problem's recipe, by trials of a few steps on validation rows."""
    if not problem.training.stepwise:
        return GroupSize(1, refused="this package does not run the steps of the training")
    if problem.train.linked:
        return GroupSize(1, refused="rows are linked, and models may see different ones")
    run = runner(problem, device)
    if problem.train.augments:
        why = "the data set augments rows itself, with draws that a group would share"
    else:
        why = refusal(run)
    times = {1: timed(run, 1)} if why else timed_sizes(run, LARGEST_GROUP)
    fast = min(times.values()) * (1 + NEAR)
    size = min(one for one, time in times.items() if time <= fast)
    tried = [f"{one}: {time * 1e6:.0f}" for one, time in times.items()]
    last = False
    run = runner(with_channels_last(problem), device)
    if bears_layout(problem, run, device):
        time = timed(run, 1)
        tried.append(f"1 with channels last: {time * 1e6:.0f}")
        last = time < times[size]
    said = "microseconds a step and member by group size: " + ", ".join(tried)
    return GroupSize(1 if last else size, last, why, said)


def runner(problem: Problem, device: str) -> Run:
    """Short trainings by the recipe on validation rows, which every model may see."""
    probe, recipe = on_validation(problem), problem.stepwise_recipe

    def run(ids: Sequence[int], steps: int, grouped: bool) -> tuple[list[Ensemble], float]:
        rows = torch.arange(min(recipe.batch_size, len(probe.train)))
        short = replace(recipe, epochs=steps, batch_size=max(1, len(rows)), fit=None)
        trial = replace(probe, recipe=short)
        blocks = [tuple(ids)] if grouped else [(i,) for i in ids]
        found, seconds = [], 0.0
        for block in blocks:
            ends: list[float] = []
            part, _ = train_group(
                *(trial, rows, block, Draws((0, "grouping")), len(block), device),
                watch=lambda step, models, ends=ends: ends.append(_now(device)),
            )
            if steps == 1:  # a group must also be able to answer
                part.outputs(probe.task, probe.train, rows)
            found.append(part)
            late = ends[(len(ends) - 1) // 2 :]  # the first steps trace, compile and allocate
            seconds += median(after - before for before, after in pairwise(late))
        return found, seconds

    return run


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


def _now(device: str) -> float:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def bears_layout(problem: Problem, run: Run, device: str) -> bool:
    """Whether the recipe's models answer alike with channels last, and `run` can train them so."""
    recipe = problem.stepwise_recipe
    rows, found = torch.arange(min(recipe.batch_size, len(problem.validation))), []
    for build in (recipe.build, ChannelsLast(recipe.build)):
        with seeded(0):
            module = build().to(device)
        if {p.ndim for p in module.parameters()} & {4, 5} != {4}:  # convolutions over two axes
            return False
        try:
            found.append(Ensemble.of(module).outputs(problem.task, problem.validation, rows))
            if len(found) == 2:
                run((0,), 1, False)
        except BadInput:
            raise
        except RuntimeError:  # a `view` that asks for another layout
            return False
    before, after = found
    return torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max()))


def timed_sizes(run: Run, largest: int) -> dict[int, float]:
    """Seconds a step and member by group size, tried upwards until two gain next to nothing."""
    found: dict[int, float] = {}
    for size in (s for s in SIZES if s <= largest):
        found[size] = timed(run, size)
        *before, last, now = [float("inf"), float("inf"), *found.values()]
        if min(last, now) > 0.95 * min(before, default=float("inf")):
            break
    return found


def timed(run: Run, size: int) -> float:
    """Seconds a step and member of one group of this size, the least of some trials."""
    ids = tuple(range(size))
    least = min(run(ids, 4, True)[1] for _ in range(3))
    if size > 1 and least < SLOW:  # long trainings are replayed from a trace, which is faster
        least = min(least, run(ids, LEAST, True)[1])
    return least / size
