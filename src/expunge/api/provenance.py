"""Facts that a document declares beside its numbers: the problem, the run, what things cost."""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

import numpy
import torch
from torch import Tensor

from expunge.data.fingerprints import fingerprints
from expunge.data.progress import with_progress
from expunge.engine.cost import Cost
from expunge.problem import Problem
from expunge.training.from_recipe import retrain_units


def problem_facts(
    problem: Problem, progress: bool = False, content: Tensor | None = None
) -> dict[str, Any]:
    """What was asked: sizes, the judge, and retained copies of forgotten rows.

    Args:
        problem: with rows to forget.
        progress: show a bar where looking for copies takes a while.
        content: hashes of the train rows, where they are known; see `ModelCache.content`.
    """
    count = problem.people()
    return {
        "name": problem.name,
        "kind": problem.task.kind,
        "rows": len(problem.present_rows),
        "forget_rows": len(problem.forget),
        "persons": None if count is None else count.persons,
        "persons_partly": None if count is None else count.partly,
        "forgotten_before": len(problem.train) - len(problem.present_rows),
        "judged_on": "validation" if problem.test is None else "test",
        "duplicates": duplicates(problem, progress, content).tolist(),
    }


def duplicates(problem: Problem, progress: bool = False, content: Tensor | None = None) -> Tensor:
    """Retained rows whose inputs are exact copies of a forgotten row's, int64."""
    if content is not None:
        copies = torch.isin(content[problem.retain, 0], content[problem.forget, 0])
        return problem.retain[copies]
    forgotten = fingerprints(problem.train, problem.forget)[:, 0]
    shown = "Looking for copies", len(problem.retain), progress
    with with_progress(problem.train, *shown) as train:
        kept = fingerprints(train, problem.retain)[:, 0]
    return problem.retain[torch.isin(kept, forgotten)]


def run_facts(command: str, seed: int, seconds: float, **digests: str) -> dict[str, Any]:
    """How it was done: the command that repeats it, versions, machine, date."""
    from expunge import __version__

    return {
        "command": command,
        "seed": seed,
        "versions": {
            "expunge": __version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "digests": digests,
        "seconds": round(seconds, 1),
    }


# A cost of which nothing is known.
UNKNOWN_COST: dict[str, Any] = dict.fromkeys(
    ("forward_rows", "backward_rows", "row_units", "seconds", "relative_to_retrain")
)


def cost_facts(cost: Cost, problem: Problem) -> dict[str, Any]:
    """A cost as audit.json has it; relative to nothing where a retraining has no known price."""
    whole = retrain_units(problem)
    if (
        whole is None and not cost.row_units and cost.seconds
    ):  # a Trainer that does not say its epochs
        return {**UNKNOWN_COST, "seconds": cost.seconds}
    return {
        "forward_rows": cost.forward_rows,
        "backward_rows": cost.backward_rows,
        "row_units": cost.row_units,
        "seconds": cost.seconds,
        "relative_to_retrain": cost.row_units / whole if whole else None,
    }


def shared_facts(
    what: str, units: int, own: Cost, problem: Problem, lasting: bool
) -> dict[str, Any]:
    """A cost that several requests may share.

    Args:
        what: e.g. "1,000 half-data models".
        units: row units of all of it, for one model.
        own: what the method itself spends on one request.
        problem: for the price of one retraining.
        lasting: whether it serves later requests too.
    """
    whole = retrain_units(problem)
    saved = (whole or 0) - own.row_units
    return {
        "what": what,
        "row_units": units if whole else None,
        "relative_to_retrain": units / whole if whole else None,
        "requests_to_pay": ceil(units / saved) if lasting and saved > 0 else None,
    }


def shell_command(*words: Any, **flags: Any) -> str:
    """A command line of words and flags, quoted for a shell; flags of None or "" are left out."""
    given = {name: value for name, value in flags.items() if value not in (None, "")}
    named = [x for name, value in given.items() for x in (f"--{name.replace('_', '-')}", value)]
    return shlex.join(map(str, (*words, *named)))


def as_list(rows: Tensor | Sequence[int]) -> list[int]:
    """Row numbers as plain integers, sorted."""
    return sorted(int(row) for row in rows)
