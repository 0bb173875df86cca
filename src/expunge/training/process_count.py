"""How many processes at once train most models: a short trial with all of them busy.

Processes share memory and caches, and more of them are not always faster together.
"""

from math import ceil
from typing import NamedTuple

from expunge import fanout
from expunge.problem import Problem
from expunge.training.from_recipe import on_validation
from expunge.training.group_size import runner

GAIN = 1.05  # fewer processes are taken only if they are faster together by this factor
SECONDS = 0.5  # of training in each process of a trial
STEPS = (4, 1000)  # at least, so that half of them are timed; at most


class ProcessCount(NamedTuple):
    """How many processes at once train a recipe's models fastest on a machine."""

    best: int
    timings: str = ""  # what was measured, in words

    def describe(self) -> str:
        """In words."""
        many = f"{self.best} processes" if self.best > 1 else "one process"
        return f"Work is spread over {many} ({self.timings})"


def choose_processes(problem: Problem, group: int, device: str, most: int) -> ProcessCount:
    """All that may be, or half of them, and so on while fewer are faster together.

    Args:
        problem: with a Recipe as it is trained; models are trained on validation rows.
        group: members of each process.
        device: where.
        most: processes that may be.
    """
    probe = on_validation(problem)  # and so that nothing else is sent to processes
    together(probe, group, device, most, most)  # they start and import, each in its time
    count, found = most, {most: together(probe, group, device, most, most)}
    while count > 1:
        found[count // 2] = together(probe, group, device, count // 2, most)
        if found[count // 2] < GAIN * found[count]:
            break
        count //= 2
    tried = ", ".join(f"{n}: {pace:.0f}" for n, pace in found.items())
    return ProcessCount(count, f"models' steps a second by number of processes: {tried}")


def together(problem: Problem, group: int, device: str, count: int, most: int) -> float:
    """Steps of models a second of so many processes, all busy, of a pool of `most`."""
    tasks = [(problem, group, device)] * count
    return sum(fanout.spread(pace, tasks, jobs=most, label="", progress=False))


def pace(problem: Problem, group: int, device: str) -> float:
    """Steps of models a second of one group in this process."""
    run, ids = runner(problem, device), range(group)
    _, seconds = run(ids, STEPS[0], True)
    steps = min(max(ceil(SECONDS / seconds), STEPS[0]), STEPS[1])
    return group / run(ids, steps, True)[1]
