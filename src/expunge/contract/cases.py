"""Short runs of any method on small problems.

A method declares as `exempt` the laws that it need not obey, with the reasons; as `short` the
settings of a short run; and as `closer`, if it claims so, which share of the distance to the
retrained optimum of a convex problem it leaves at most, and with which settings.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._pytree import tree_leaves, tree_map

from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Change
from expunge.methods import Method, MethodInputs, Result
from expunge.problem import Problem
from expunge.rng import seeded
from expunge.training.unrolled.history import History

SHORT = {  # of every method that has such a setting
    "epochs": 2,
    "steps": 6,
    "batch_size": 16,
    "forget_batch_size": 4,
    "retain_batch_size": 8,
    "lr": 0.02,
}


def exemptions(kind: type[Method]) -> dict[str, str]:
    """The laws that a method need not obey, with the reasons."""
    return getattr(kind, "exempt", {})


def short(kind: type[Method], **settings: Any) -> Any:
    """The method at settings that run in a few hundredths of a second."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    chosen = {**SHORT, **getattr(kind, "short", {}), **settings}
    return kind(**{k: v for k, v in chosen.items() if k in known})


def has(setting: str):
    """Whether a method has a setting of this name."""
    return lambda kind: setting in {field.name for field in fields(kind)}


def originals(problem: Problem, count: int = 3, group: int = 1, first: int = 0) -> Ensemble:
    """Models of the problem's architecture; untrained, as the laws hold for any weights."""
    made = []
    for k in range(first, first + count):
        with seeded(k):
            made.append(problem.stepwise_recipe.build())
    return Ensemble.stack(made, range(count), group)


def change(problem: Any, size: float = 0.5):
    """An invented predicted change of every row, a smooth function of its inputs."""

    def predicted(split: str, rows: Tensor) -> Change:
        first = tree_leaves(problem.splits[split].inputs)[0]  # of texts, the tokens
        inputs = first[rows].nan_to_num().flatten(1)
        outputs = getattr(problem.task, "classes", 1)
        mean = size * torch.sin(inputs[:, :1] + torch.arange(outputs))
        return Change(mean, torch.ones_like(mean))

    return predicted


def inputs_for(problem: Problem, kind: type[Method], count: int = 3, **others: Any) -> MethodInputs:
    """What a method needs, and no more."""
    teachers = originals(problem, count, first=100) if "teachers" in kind.needs else None
    told = history(problem, count) if "history" in kind.needs else None
    predicted = change(problem) if "change" in kind.needs else None
    return MethodInputs(predicted, teachers, history=told, **others)


def history(problem: Problem, count: int) -> History:
    """How originals might have been trained; numbers of forgotten rows are 0, NaN or not."""
    data = problem.train
    if isinstance(data, TensorData):
        blank = partial(_without, problem.forget)
        problem = replace(problem, train=TensorData(tree_map(blank, data.inputs), data.targets))
    return History(problem, tuple(range(count)), seed=7)


def _without(rows: Tensor, values: Tensor) -> Tensor:
    return values.index_fill(0, rows, 0.0) if values.is_floating_point() else values


def run(
    problem: Problem,
    kind: type[Method],
    models: Ensemble | None = None,
    seed: int = 0,
    **settings: Any,
) -> Result:
    """One short run on `models` (default: three)."""
    models = originals(problem) if models is None else models
    made = inputs_for(problem, kind, 1 + max(models.ids))
    return short(kind, **settings)(problem, models, made, seed=seed)


def weights(models: Any) -> dict[str, Tensor]:
    """Copies of all parameters and buffers; of shifted outputs, those of the ensemble inside."""
    models = models if isinstance(models, Ensemble) else models.ensemble
    return {name: t.clone() for name, t in models.tensors().items()}


def gap(first: Any, second: Any) -> float:
    """The largest difference between two ensembles in any parameter or buffer."""
    a, b = weights(first), weights(second)
    return max(float((a[n] - b[n]).abs().max()) for n in a)


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Equal names, types and bits, NaN and signed zeros included."""
    if first.keys() != second.keys():
        return False
    return all(
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
        for a, b in ((first[name], second[name]) for name in first)
    )


def everywhere(problem: Problem, models: Any) -> Tensor:
    """Outputs on all train and test rows, float64, (members, rows, C)."""
    parts = []
    for data in (problem.train, problem.judge):
        parts.append(models.outputs(problem.task, data, torch.arange(len(data))))
    return torch.cat(parts, dim=1).double()


@contextmanager
def optimizers() -> Iterator[set[type]]:
    """The kinds of optimizer that take a step inside."""
    seen: set[type] = set()
    handle = register_optimizer_step_pre_hook(lambda made, *_: seen.add(type(made)))
    try:
        yield seen
    finally:
        handle.remove()


def in_recipe(problem: Problem, **changed: Any) -> Problem:
    """The problem with these settings of its recipe."""
    return replace(problem, recipe=replace(problem.stepwise_recipe, **changed))
