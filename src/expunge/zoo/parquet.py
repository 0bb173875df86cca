"""Columns of parquet files, with messages for what is missing or damaged."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from expunge.errors import BadInput
from expunge.zoo.data_folder import damaged


def require_readers(what: str, *modules: str) -> None:
    """Say how to install what reading needs, before any file is read.

    Args:
        what: the data set, for the message.
        modules: to import, besides pyarrow.

    Raises:
        BadInput: one of them is not installed.
    """
    for module in ("pyarrow", *modules):
        if find_spec(module) is None:
            raise BadInput(
                f"{what} cannot be read without {module}",
                expected="pyarrow" + (" and pillow" if "PIL" in modules else ""),
                fix="run: pip install 'expunge[bench]'",
            )


def columns(path: Path, names: Sequence[str], source: str) -> list[list[Any]]:
    """Some columns of a file as lists, in the order of the names.

    Args:
        path: of the file, which is there.
        names: of the columns.
        source: what the file is, for the message.

    Raises:
        BadInput: the file cannot be read, or lacks a column.
    """
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:  # what pyarrow's own errors are
        raise damaged(path, f"cannot be read ({error})", source) from error
    missing = set(names) - set(table.column_names)
    if missing:
        raise damaged(path, f"has no column '{min(missing)}'", source)
    return [table[name].to_pylist() for name in names]
