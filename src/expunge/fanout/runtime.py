"""Where and how models are made: a store, a device, processes or a cluster, a seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from expunge import fanout
from expunge.errors import BadInput, first_line
from expunge.fanout.cluster import Cluster, gpus_of, require_backend
from expunge.store import Store


@dataclass(frozen=True)
class Runtime:
    """Where and how models are made: a store, a device, processes or a cluster, a seed."""

    store: Store
    seed: int = 0
    device: str = "cpu"
    jobs: int | None = None  # None: one process a core or fewer, or one alone on an accelerator
    group: int | None = None  # members a group; None: chosen by a short timing
    progress: bool = True
    backend: str = "processes"  # or "ray": tasks of a cluster, of which `jobs` at once
    address: str | None = None  # of the cluster, as `expunge.fanout.connecting.connect` takes it
    gpus_per_task: float | None = None  # on a cluster with cuda; None: one whole

    def __post_init__(self) -> None:
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise BadInput(
                f"device '{self.device}' cannot be used ({first_line(error)})",
                expected="cpu, or a device that this torch build and machine have",
                fix="choose another --device, or install a torch build for it",
            ) from error
        require_backend(self.backend, self.address, self.gpus_per_task, self.device)

    @property
    def cluster(self) -> Cluster | None:
        """What does the work in the place of processes of this machine, if anything does."""
        if self.backend == "processes":
            return None
        gpus = gpus_of(self.device, self.gpus_per_task)
        jobs = None if self.jobs is None else max(1, self.jobs)
        return Cluster(self.address, self.store.root, jobs, gpus)

    @property
    def processes(self) -> int:
        """How many processes there may be."""
        return fanout.jobs_for(self.device, self.jobs)

    @property
    def spread_over(self) -> str:
        """What does the work, in words."""
        if self.cluster is not None:
            return "as tasks of a Ray cluster"
        return f"by {self.processes} processes" if self.processes > 1 else "by one process"

    def missing(self, tasks: Mapping[str, Any]) -> dict[str, Any]:
        """Those whose key the store does not hold whole."""
        return {key: task for key, task in tasks.items() if self.store.load(key) is None}

    def make(
        self,
        function: Callable[..., Any],
        tasks: Mapping[str, tuple],
        label: str,
        sizes: Mapping[str, int],
        names: Mapping[str, str],
        jobs: Callable[[], int] | None = None,
    ) -> None:
        """Fill the store, spread over processes: `function(*task)` for each key that it lacks.

        Args:
            function: saves its result under the key of its task.
            tasks: arguments by key. What another run on this store is making is waited for.
            label: what the progress bar says.
            sizes: by key, how much of the bar a task fills.
            names: by key, which members of what a task makes, for messages.
            jobs: how many processes are best, asked only of more work than all do at once.
        """
        if missing := self.missing(tasks):
            most = self.processes
            best = jobs() if jobs is not None and len(missing) > most else most
            fanout.spread(
                _make_once,
                [(self.store, key, function, task) for key, task in missing.items()],
                jobs=best,
                label=label,
                sizes=[sizes[key] for key in missing],
                names=[names[key] for key in missing],
                progress=self.progress,
                cluster=self.cluster,
            )


def named(role: str, ids: Sequence[int]) -> str:
    """Some members of a role, for messages: "oracle 3", "oracle 4 to 7"."""
    return f"{role} {ids[0]}" + (f" to {ids[-1]}" if len(ids) > 1 else "")


def _make_once(store: Store, key: str, function: Callable[..., Any], task: tuple) -> None:
    with store.making(key) as needed:
        if needed:
            function(*task)
