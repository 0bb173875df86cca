"""Pieces: what many models say is worked on a part at a time, so that memory is bounded.

A number of a row asks for all models, so tables are cut along rows; a number of a model asks for
all rows, so they are cut along models. No bit depends on the cut: rows are cut at multiples of
`STEP`, since the last few columns of a table are summed in another order than those before them.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor

NUMBERS = 1 << 22  # in a piece: 32 MiB as float64
STEP = 64  # rows


class Array(Protocol):
    """What models say, (members, rows) or (members, rows, C): a tensor, or something unread.

    `array[a:b]` and `array[:, a:b]` are tensors.
    """

    @property
    def shape(self) -> torch.Size:
        """(members, rows) or (members, rows, C)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensors."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, place: Any, /) -> Tensor: ...


def by_rows(function: Callable[..., Tensor], *tables: Array) -> Tensor:
    """`function` of pieces of rows of all tables, joined along its last axis.

    Args:
        function: takes (members, some rows) of each table, gives (..., as many rows).
        tables: of the same rows.
    """
    wide = sum(len(table) * prod(table.shape[2:]) for table in tables)
    size = max(STEP, NUMBERS // max(1, wide) // STEP * STEP)
    pieces = [
        function(*(table[:, cut] for table in tables)) for cut in _cuts(tables[0].shape[1], size)
    ]
    return torch.cat(pieces, dim=-1)


def by_members(function: Callable[[Tensor], Tensor], table: Array) -> Tensor:
    """`function` of pieces of members, joined along its last axis.

    Args:
        function: takes (some members, rows, ...), gives (..., as many members).
        table: members first.
    """
    return torch.cat([function(table[cut]) for cut in member_cuts(table)], dim=-1)


def member_cuts(table: Array) -> Iterator[slice]:
    """Members whose numbers on all rows are a piece together; at least one piece."""
    return _cuts(len(table), max(1, NUMBERS // max(1, prod(table.shape[1:]))))


def _cuts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, max(1, count), size):
        yield slice(start, min(start + size, count))
