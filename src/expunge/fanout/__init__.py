"""The same work over processes, here or on a Ray cluster.

One torch thread each, so that no bit depends on how many.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import joblib
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from expunge.fanout.cluster import Cluster
from expunge.fanout.orphans import end_with


def spread(
    function: Callable[..., Any],
    tasks: Sequence[tuple],
    *,
    jobs: int,
    label: str,
    sizes: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    progress: bool = True,
    cluster: Cluster | None = None,
) -> list[Any]:
    """`function(*task)` for every task, in the order of the tasks.

    Args:
        function: importable by, or picklable for, another process; it should return store keys
            or other small things.
        tasks: arguments of each call.
        jobs: processes; 1 works in this one.
        label: what the progress bar says, e.g. "Training models".
        sizes: how much of the bar each task fills, e.g. its number of models; default 1 each.
        names: what each task makes, for messages of a cluster; default its number.
        progress: show a bar with the time left.
        cluster: does the work in the place of processes; fails and retries as `Cluster.run` says.

    Raises:
        Exception: whatever a task raised; the work of finished tasks is lost unless they kept it.
    """
    sizes = [1] * len(tasks) if sizes is None else list(sizes)
    results: list[Any] = [None] * len(tasks)
    numbered = [(function, i, task) for i, task in enumerate(tasks)]
    with one_thread(), bar(label, sum(sizes), progress) as advance:
        if cluster is not None and tasks:
            names = names or [f"task {i}" for i in range(len(tasks))]
            done: Any = cluster.run(_numbered, numbered, names)
        elif jobs == 1 or len(tasks) <= 1:
            done = (_numbered(*task) for task in numbered)
        else:
            parallel: Any = joblib.Parallel(
                n_jobs=jobs,
                return_as="generator_unordered",
                initializer=end_with,
                initargs=(os.getpid(),),
            )
            done = parallel(joblib.delayed(_numbered)(*task) for task in numbered)
        with closing(done):  # an error here, or Ctrl-C, cancels what a cluster still does
            for i, result in done:
                results[i] = result
                advance(sizes[i])
    return results


def jobs_for(device: str, jobs: int | None) -> int:
    """The number of processes: as asked, else one a core, or one alone on an accelerator."""
    if jobs is not None:
        return max(1, jobs)
    return joblib.cpu_count(only_physical_cores=False) if torch.device(device).type == "cpu" else 1


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside: sums are then made in the same order everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _numbered(function: Callable[..., Any], number: int, task: tuple) -> tuple[int, Any]:
    with one_thread():
        return number, function(*task)


def say(line: str, show: bool) -> None:
    """A line for whoever looks on, on the error stream as the bars are."""
    if show:
        Console(stderr=True, highlight=False, markup=False).print(line)


@contextmanager
def bar(label: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar with the time left, on the error stream; yields `advance(size)`."""
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        task = progress.add_task(label, total=total)
        yield lambda size: progress.advance(task, size)
