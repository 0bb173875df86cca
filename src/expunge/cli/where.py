"""Where the work of a command is done: the options of every command that makes models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from expunge.fanout.runtime import Runtime

Jobs = Annotated[
    int | None,
    typer.Option(help="Processes, or tasks of a cluster at once; default one a core at most."),
]
Backend = Annotated[
    str, typer.Option(help="processes of this machine, or ray: tasks of a cluster (docs/ray.md).")
]
Address = Annotated[
    str | None,
    typer.Option(help="With --backend ray: host:port of its head, or auto; default this machine."),
]
GpusPerTask = Annotated[
    float | None,
    typer.Option(help="With --backend ray and cuda: share of a GPU of each task; default 1."),
]


def placed(
    store: Path,
    device: str,
    jobs: int | None,
    backend: str,
    address: str | None,
    gpus_per_task: float | None,
    **more: Any,
) -> "Runtime":
    """The runtime that these options describe, and `more` of its settings."""
    from expunge.fanout.runtime import Runtime
    from expunge.store import Store

    where = {"backend": backend, "address": address, "gpus_per_task": gpus_per_task}
    return Runtime(Store(store), device=device, jobs=jobs, **where, **more)
