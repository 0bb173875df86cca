"""Where the work of a command is done: the options of every command that makes models."""

from typing import Annotated

import typer

Jobs = Annotated[
    int | None, typer.Option(help="Processes, or tasks of a cluster at once; default one a core.")
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
