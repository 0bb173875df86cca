"""Where downloaded data sets lie: a folder that the user names, or that EXPUNGE_DATA names."""

import os
from pathlib import Path

from expunge.errors import BadInput

VARIABLE = "EXPUNGE_DATA"


def data_file(data: Path | str | None, name: str, source: str) -> Path:
    """The path of one file of the data folder.

    Args:
        data: the folder; None for the one that the environment variable EXPUNGE_DATA names.
        name: the file's place in the folder, e.g. "fashion_mnist.npz".
        source: what the file is and where the set comes from, for the message.

    Raises:
        BadInput: no folder is named, or the file is not there.
    """
    folder = os.environ.get(VARIABLE) if data is None else data
    if not folder:
        raise BadInput(
            f"no data folder is named, so {name} cannot be found",
            expected=f"a folder that holds {name}: {source}",
            fix=f"set {VARIABLE} to the folder, or pass data=",
        )
    path = Path(folder) / name
    if not path.is_file():
        raise BadInput(
            f"there is no file {path}",
            expected=f"{name}: {source}",
            fix=f"put the file there, or name the right folder with {VARIABLE} or data=",
        )
    return path


def damaged(path: Path, what: str, expected: str) -> BadInput:
    """The error for a file that is there and cannot be used."""
    return BadInput(
        f"{path} {what}", expected=expected, fix="fetch or convert the file again, whole"
    )
