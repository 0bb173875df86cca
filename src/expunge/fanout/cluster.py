"""The same work as tasks of a Ray cluster: what fails is tried again, and what is done is kept.

Ray's own tasks, as joblib's backend for Ray gives up when a worker dies, and hands nothing over
before all is done.
"""

import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import cloudpickle
import torch
from filelock import FileLock

from expunge.errors import BadInput, first_line
from expunge.fanout.cluster_worker import Failed, Place, Refused, versions
from expunge.fanout.connecting import connect
from expunge.store import require_writable

ATTEMPTS = 3  # of each task; bad input is not tried again, as it would be as bad
LOSSES = 20  # machines lost under one task: that happens to long ones where machines come and go
MOST = 1000  # tasks handed to Ray at once; waiting for one takes time in proportion


class Tried(NamedTuple):
    """A task, how often it failed, and how often the machine was lost on which it ran."""

    number: int
    failed: int = 0
    lost: int = 0

    def again(self, name: str, outcome: Failed) -> "Tried":
        """The same for its next attempt; BadInput after the last."""
        now = self._replace(failed=self.failed + 1)
        if outcome.lost:  # which says nothing of the task
            now = self._replace(lost=self.lost + 1)
        if now.failed < ATTEMPTS and now.lost < LOSSES:
            warnings.warn(f"{name} failed ({outcome.error}); it is tried again", stacklevel=3)
            return now
        raise BadInput(
            f"{name} failed {now.failed + now.lost} times, at last with {outcome.error}",
            expected="work that ends well in one of its attempts",
            fix="correct the error and run the same again; what is finished is kept",
        ) from RuntimeError(outcome.trace)


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each task takes of it beside one core.

    Attributes:
        address: as `connect` takes it.
        shared: the folder that tasks write into; every machine must see it.
        jobs: most tasks at once; None: as many as the cluster has room for.
        gpus: share of a GPU of each task.
    """

    address: str | None
    shared: Path
    jobs: int | None = None
    gpus: float = 0.0

    def run(
        self, function: Callable[..., Any], tasks: Sequence[tuple], names: Sequence[str]
    ) -> Generator[Any]:
        """Yield `function(*task)` of every task, in the order in which they end.

        Args:
            function: it and the tasks travel once to each worker, by value where they must.
            tasks: arguments of each call.
            names: of the tasks, for messages.

        Raises:
            BadInput: a task raised it, or failed for the third time; no cluster, or one without
                room for a task, or with a machine that does not see the shared folder.
        """
        import ray

        connect(self.address, self.jobs)
        self._require_room()
        with self._place() as place:
            parcel = ray.put(cloudpickle.dumps((function, list(tasks))))
            remote: Any = ray.remote(num_cpus=1, num_gpus=self.gpus, max_retries=0)(_attempting())
            waiting = deque(Tried(number) for number in range(len(tasks)))
            running: dict[Any, Tried] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < (self.jobs or MOST):
                        one = waiting.popleft()
                        # a list, as Ray would send what lies in a bare argument with every task
                        reference = remote.remote(sys.path, place, [parcel], one.number)
                        running[reference] = one
                    ended = ray.wait(list(running))[0][0]
                    one, outcome = running.pop(ended), _outcome(ended)
                    if isinstance(outcome, Refused):
                        raise outcome.error
                    if isinstance(outcome, Failed):
                        waiting.appendleft(one.again(names[one.number], outcome))
                    else:
                        yield outcome
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)

    def _require_room(self) -> None:
        """Raise BadInput where no task could ever begin: Ray itself would wait without end."""
        import ray

        needed = {"CPU": 1.0, "GPU": self.gpus}
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(has.get(k, 0.0) >= n for k, n in needed.items()) for has in machines):
            most = {k: max((has.get(k, 0.0) for has in machines), default=0.0) for k in needed}
            raise BadInput(
                f"a task takes 1 CPU and {self.gpus:g} GPU, and no machine of the Ray cluster has "
                f"both (the largest {most['CPU']:g} and {most['GPU']:g})",
                expected="a cluster with a machine that has room for one task",
                fix="start a machine that has it, or choose another --device",
            )

    @contextmanager
    def _place(self) -> Iterator[Place]:
        """Where this process works, with a mark in the shared folder that workers must see."""
        # named as the tasks name the store: a worker looks where it would write
        mark = self.shared / "locks" / f"shared-{uuid4().hex}.lock"
        require_writable(mark.parent)
        with FileLock(mark):  # so that `store prune` removes what a killed command left, only
            try:
                yield (str(mark), str(Path.cwd()), versions())
            finally:
                mark.unlink(missing_ok=True)


def require_backend(
    backend: str, address: str | None, gpus_per_task: float | None, device: str
) -> None:
    """Raise BadInput unless these settings of where work is done go together.

    Args:
        backend: "processes" or "ray".
        address: of a Ray cluster.
        gpus_per_task: share of a GPU of each task.
        device: where models are trained.
    """
    from importlib.util import find_spec

    if backend not in ("processes", "ray"):
        raise BadInput(f"backend '{backend}'", expected="processes or ray", fix="correct the word")
    given = {"--address": address, "--gpus-per-task": gpus_per_task}
    if backend == "processes":
        for flag, value in given.items():
            if value is not None:
                raise BadInput(
                    f"{flag} {value} without a cluster",
                    expected=f"{flag} together with --backend ray",
                    fix=f"add --backend ray, or leave {flag} out",
                )
        return
    if find_spec("ray") is None:
        raise BadInput(
            "--backend ray, and Ray is not installed",
            expected="the package ray, on this and on every machine of the cluster",
            fix="pip install 'expunge[ray]'",
        )
    place = torch.device(device)
    if place.index is not None:
        raise BadInput(
            f"--device {device} with --backend ray",
            expected=f"--device {place.type}, as Ray chooses the device of each task",
            fix="leave the number out",
        )
    if gpus_per_task is None:
        return
    if place.type != "cuda":
        raise BadInput(
            f"--gpus-per-task {gpus_per_task:g} with --device {device}",
            expected="--device cuda",
            fix="leave one of them out",
        )
    if not 0 < gpus_per_task <= 1:
        raise BadInput(
            f"--gpus-per-task {gpus_per_task:g}",
            expected="more than 0 and at most 1, as a group of models lies on one device",
            fix="e.g. --gpus-per-task 0.25 for four tasks on each GPU",
        )


def gpus_of(device: str, gpus_per_task: float | None) -> float:
    """The share of a GPU that a task takes: as asked, one whole on cuda, none elsewhere."""
    if torch.device(device).type != "cuda":
        return 0.0
    return 1.0 if gpus_per_task is None else gpus_per_task


def _attempting() -> Callable[..., Any]:
    """What workers run: defined inside, so that it travels by value and can find this package."""

    def attempt(path, place, parcel, number):
        import sys

        sys.path.extend(folder for folder in path if folder not in sys.path)
        from expunge.fanout.cluster_worker import attempt

        return attempt(place, parcel[0], number)

    return attempt


def _outcome(reference: Any) -> Any:
    """What a task gave; `Failed` also where its worker died or where it could not begin."""
    import ray
    from ray.exceptions import LocalRayletDiedError, NodeDiedError, RayError

    try:
        return ray.get(reference)
    except (NodeDiedError, LocalRayletDiedError) as error:
        return Failed("its machine was lost", str(error), lost=True)
    except RayError as error:
        cause = getattr(error, "cause", None)  # what a task raised outside of its own work
        shown = cause if isinstance(cause, Exception) else error
        return Failed(f"{type(shown).__name__}: {first_line(shown)}", str(error))
