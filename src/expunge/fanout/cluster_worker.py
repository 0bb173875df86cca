"""What a worker of a Ray cluster does: open the parcel of all tasks once, and do one of them."""

import os
import platform
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import cloudpickle
import torch

from expunge.errors import BadInput, first_line

PATIENCE = 10.0  # seconds until a network's file system shows a new file

# A mark in the shared folder, the folder that relative paths mean, and versions: of plain things,
# as a worker reads it before it can find this package.
Place = tuple[str, str, dict[str, str]]

_opened: dict[str, tuple[Callable[..., Any], Sequence[tuple]]] = {}  # the last parcel, by its mark


class Refused(NamedTuple):
    """A task found its input bad."""

    error: BadInput


class Failed(NamedTuple):
    """A task raised something else, or died: in one line, and where."""

    error: str
    trace: str
    lost: bool = False  # the machine on which it ran went away


def versions() -> dict[str, str]:
    """Of what decides whether tasks can be read, and what their bits are."""
    from expunge import __version__

    return {"expunge": __version__, "torch": torch.__version__}


def attempt(place: Place, parcel: Any, number: int) -> Any:
    """The result of one task of a parcel, or how it failed."""
    try:
        function, tasks = _open(place, parcel)
        return function(*tasks[number])
    except BadInput as error:
        return Refused(error)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        line = f"{type(error).__name__}: {first_line(error)} ({where})"
        return Failed(line, "".join(traceback.format_exception(error)))


def _open(place: Place, parcel: Any) -> tuple[Callable[..., Any], Sequence[tuple]]:
    """Function and tasks; read once by each worker, and what an earlier parcel held is let go."""
    import ray

    mark, folder, expected = place
    if mark not in _opened:
        _opened.clear()
        _require_same(expected)
        if os.path.isdir(folder):
            os.chdir(folder)
        _require_seen(Path(mark))
        _opened[mark] = cloudpickle.loads(ray.get(parcel))
    return _opened[mark]


def _require_same(expected: dict[str, str]) -> None:
    found = versions()
    for name, version in expected.items():
        if found[name] != version:
            raise BadInput(
                f"machine {platform.node()} has {name} {found[name]}",
                expected=f"{version}, as where the command was given",
                fix="install the same versions on every machine",
            )


def _require_seen(mark: Path) -> None:
    """Raise BadInput where this machine does not see the folder that results go to."""
    start = monotonic()
    while not mark.is_file():
        if monotonic() - start > PATIENCE:
            raise BadInput(
                f"machine {platform.node()} does not see the store {mark.parents[1].absolute()}",
                expected="a folder that every machine of the cluster sees under the same path",
                fix="put --store on a shared disk",
            )
        sleep(0.2)
