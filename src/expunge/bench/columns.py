"""All answers of a benchmark in one Parquet file: a row group a cell, in the order of the cells.

Long format, so that any data-frame library reads it: one line for each cell, group, member and row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from expunge.bench.answers import GROUPS, VALUES, Answers, Cell
from expunge.errors import BadInput, first_line
from expunge.store.disk import writable

FILE = "answers.parquet"


class Writer:
    """Writes cells one after the other; the file appears when all are written."""

    def __init__(self, folder: Path) -> None:
        self._arrow, self._parquet = _pyarrow()
        self._path, self._partial = folder / FILE, folder / f".{FILE}.partial"
        self._writer: Any = None
        self._cells = 0

    def __enter__(self) -> "Writer":
        return self

    def write(self, cell: Cell) -> None:
        """Add a cell; its number is its place in the order of calls."""
        table = self._table(cell)
        with writable(self._path):
            if self._writer is None:
                self._writer = self._parquet.ParquetWriter(
                    self._partial, table.schema, compression="zstd"
                )
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._cells += 1

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if self._writer is not None and kind is None:
                with writable(self._path):
                    self._writer.close()
                    self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _table(self, cell: Cell) -> Any:
        parts: dict[str, list[np.ndarray]] = {}
        for group, found in cell.items():
            members, rows = found.margin.shape
            size = members * rows
            part = {
                "cell": np.full(size, self._cells, np.int32),
                "group": np.full(size, GROUPS.index(group), np.int8),
                "member": np.repeat(np.arange(members, dtype=np.int32), rows),
                "row": np.tile(found.rows.numpy().astype(np.int32), members),
                "target": np.tile(found.targets.numpy().astype(np.int32), members),
                **{name: _flat(found, name, size) for name in VALUES},
            }
            for name, values in part.items():
                parts.setdefault(name, []).append(values)
        arrow = self._arrow
        whole = {name: np.concatenate(values) for name, values in parts.items()}
        names = arrow.array(GROUPS)
        groups = arrow.DictionaryArray.from_arrays(arrow.array(whole.pop("group")), names)
        columns = {name: arrow.array(values) for name, values in whole.items()}
        divergence = whole["divergence"]
        columns["divergence"] = arrow.array(divergence, mask=np.isnan(divergence))
        return arrow.table({"cell": columns.pop("cell"), "group": groups, **columns})


class Reader:
    """Reads cells by their number."""

    def __init__(self, folder: Path) -> None:
        _, parquet = _pyarrow()
        self._path = path = folder / FILE
        if not path.is_file():
            raise BadInput(
                f"there is no {path}",
                expected=f"the folder of a benchmark, with {FILE} and bench.json",
                fix="give the folder that `expunge bench --out` wrote",
            )
        try:
            self._file = parquet.ParquetFile(path)
        except Exception as error:  # whatever the library raises on a damaged file
            raise self._damaged(error) from error

    def __len__(self) -> int:
        return self._file.num_row_groups

    def read(self, number: int) -> Cell:
        """One cell."""
        try:
            table = self._file.read_row_group(number)
            columns = {
                name: table.column(name).to_numpy()
                for name in table.column_names
                if name != "group"
            }
            group = np.asarray(table.column("group").combine_chunks().indices)
            return {name: self._answers(columns, group == k) for name, k in _present(group)}
        except (OSError, ValueError, KeyError, RuntimeError) as error:  # arrow's own are of these
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> BadInput:
        return BadInput(
            f"{self._path} is damaged ({first_line(error)})",
            expected="the Parquet file that `expunge bench` wrote",
            fix="fetch it again, or run its config again; what the store holds is not made anew",
        )

    def _answers(self, columns: dict[str, np.ndarray], own: np.ndarray) -> Answers:
        members = int(columns["member"][own].max()) + 1

        def matrix(name: str) -> torch.Tensor:
            return torch.from_numpy(columns[name][own].copy()).reshape(members, -1)

        divergence = matrix("divergence").float()
        return Answers(
            rows=matrix("row")[0].long(),
            targets=matrix("target")[0].long(),
            **{name: matrix(name) for name in VALUES[:4]},
            divergence=None if divergence.isnan().any() else divergence,
        )


def _present(group: np.ndarray) -> Iterator[tuple[str, int]]:
    return ((name, k) for k, name in enumerate(GROUPS) if (group == k).any())


def _flat(found: Answers, name: str, size: int) -> np.ndarray:
    values = getattr(found, name)
    return np.full(size, np.nan, np.float32) if values is None else values.flatten().numpy()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise BadInput(
            "pyarrow is not installed, in whose format benchmarks are kept",
            expected="the extra `bench`",
            fix="pip install 'expunge[bench]'",
        ) from error
    return pyarrow, pyarrow.parquet
