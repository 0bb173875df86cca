"""The one table of the contract: a method not named here must obey every law.

`EXEMPT` says which law a method need not obey, with the reason. Needs are read from the method.
"""

from dataclasses import fields, replace

import torch
from torch import Tensor

from expunge.ensemble import Change, Ensemble
from expunge.methods import METHODS, Given, Method, Result
from expunge.methods.method import Claim
from expunge.problem import Problem
from expunge.recipe import Recipe
from expunge.rng import seeded

EXEMPT: dict[str, dict[str, str]] = {
    "retrain": {
        "identity without rows": "trains from a fresh seed, whatever is forgotten",
        "mask": "starts from other weights, so there is nothing to keep",
        "start": "does not read the weights it is given",
    },
    "dm-direct": {
        "change": "its claim is that only outputs are corrected",
        "seed": "draws nothing",
        "mask": "moves nothing",
        "module": "returns shifted outputs, not weights",
        "forgotten rows are read": "reads no row before it is asked for outputs",
    },
}
READS_RETAIN_ONLY = {
    "retrain": "it is the definition of forgetting",
    "fine-tune": "the forgotten rows only fade",
}
CLOSER = {  # what claims to come closer to the retrained optimum of a convex problem, and how far
    "oracle-matching": 0.05,
    "dmm": 0.05,
    "fine-tune": 0.9,
}
SHORT = {  # of every method that has such a setting
    "epochs": 2,
    "steps": 6,
    "batch_size": 16,
    "forget_batch_size": 4,
    "retain_batch_size": 8,
    "lr": 0.02,
}
OWN = {"gradient-ascent": {"batch_size": 4}}  # fewer than the forgotten rows, so that order counts


def obeying(law: str, names=METHODS) -> list[str]:
    """The methods that must obey a law."""
    return [name for name in names if law not in EXEMPT.get(name, {})]


def short(name: str, **settings) -> Method:
    """The method at settings that run in a few hundredths of a second."""
    made = METHODS[name]()
    known = {field.name for field in fields(made)}
    chosen = {**SHORT, **OWN.get(name, {}), **settings}
    return replace(made, **{k: v for k, v in chosen.items() if k in known})


def has(name: str, setting: str) -> bool:
    return setting in {field.name for field in fields(METHODS[name])}


def originals(problem: Problem, count: int = 3, group: int = 1, first: int = 0) -> Ensemble:
    """Models of the problem's architecture; untrained, as the laws hold for any weights."""
    made = []
    for k in range(first, first + count):
        with seeded(k):
            made.append(problem.recipe.build())
    return Ensemble.stack(made, range(count), group)


def change(problem: Problem, size: float = 0.5):
    """An invented predicted change of every row, a smooth function of its inputs."""

    def predicted(split: str, rows: Tensor) -> Change:
        inputs = problem.splits[split].inputs[rows].nan_to_num().flatten(1)
        outputs = getattr(problem.task, "classes", 1)
        mean = size * torch.sin(inputs[:, :1] + torch.arange(outputs))
        return Change(mean, torch.ones_like(mean))

    return predicted


def given(problem: Problem, name: str, count: int = 3, **others) -> Given:
    """What a method needs, and no more."""
    needs = METHODS[name].needs
    teachers = originals(problem, count, first=100) if "teachers" in needs else None
    return Given(change(problem) if "change" in needs else None, teachers, **others)


def run(
    problem: Problem, name: str, models: Ensemble | None = None, seed: int = 0, **settings
) -> Result:
    """One short run on `models` (default: three)."""
    models = originals(problem) if models is None else models
    made = given(problem, name, 1 + max(models.ids))
    return short(name, **settings)(problem, models, made, seed=seed)


def weights(models) -> dict[str, Tensor]:
    """Copies of all parameters and buffers; of shifted outputs, those of the ensemble inside."""
    models = models if isinstance(models, Ensemble) else models.ensemble
    return {name: t.clone() for name, t in models.tensors().items()}


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


def everywhere(problem: Problem, models) -> Tensor:
    """Outputs on all train and test rows, float64, (members, rows, C)."""
    parts = []
    for data in (problem.train, problem.judge):
        parts.append(models.outputs(problem.task, data, torch.arange(len(data))))
    return torch.cat(parts, dim=1).double()


def in_recipe(problem: Problem, **changed) -> Problem:
    assert isinstance(problem.recipe, Recipe)
    return replace(problem, recipe=replace(problem.recipe, **changed))


__all__ = [name for name in dir() if not name.startswith("_")] + ["Claim"]
