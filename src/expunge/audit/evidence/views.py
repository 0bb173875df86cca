"""Views: tables of what models say that are read, or worked out, where they are looked at."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, member_cuts
from expunge.audit.evidence.margin import margins


class View(ABC):
    """An `Array` whose numbers are not in memory."""

    shape: torch.Size
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: Any, /) -> Tensor:
        members, rows = place if isinstance(place, tuple) else (place, slice(None))
        return self.read(range(len(self))[members], range(self.shape[1])[rows])

    @abstractmethod
    def read(self, members: range, rows: range) -> Tensor:
        """These consecutive members on these consecutive rows."""


class LazyMargins(View):
    """Margins, float64, of outputs or margins on some rows.

    Args:
        values: (members, rows, C) or (members, rows), as `margins` takes them.
        targets: (rows,), or None where the values are margins.
        kind: of the task.
    """

    dtype = torch.float64

    def __init__(self, values: Array, targets: Tensor | None, kind: str) -> None:
        self.values, self.targets, self.kind = values, targets, kind
        self.shape = torch.Size(values.shape[:2])

    def read(self, members: range, rows: range) -> Tensor:
        """See `View`; outputs are read a few members at a time, as they are C times as many."""
        part = Slice(self.values, members, rows)
        targets = None if self.targets is None else self.targets[_slice(rows)]
        return torch.cat([margins(part[cut], targets, self.kind) for cut in member_cuts(part)])


class Concat(View):
    """Tables one after another: more members (axis 0), or more rows of the same members (axis 1).

    Args:
        parts: tables, at least one.
        axis: 0 or 1.
    """

    def __init__(self, parts: Sequence[Array], axis: int) -> None:
        self.parts, self.axis, self.dtype = parts, axis, parts[0].dtype
        self.ends = list(accumulate(part.shape[axis] for part in parts))
        shape = list(parts[0].shape)
        shape[axis] = self.ends[-1]
        self.shape = torch.Size(shape)

    def read(self, members: range, rows: range) -> Tensor:
        """See `View`."""
        own = [members, rows]
        wanted, found = own[self.axis], []
        first = min(bisect_right(self.ends, wanted.start), len(self.parts) - 1)
        for end, part in zip(self.ends[first:], self.parts[first:], strict=True):
            begin = end - part.shape[self.axis]
            low, high = max(wanted.start, begin), min(wanted.stop, end)
            if low < high or not found:
                own[self.axis] = range(low - begin, max(low, high) - begin)
                found.append(part[_slice(own[0]), _slice(own[1])])
        return torch.cat(found, dim=self.axis)


class Slice(View):
    """Some consecutive members on some consecutive rows of a table.

    Args:
        table: of which it is a part.
        members: all, if left out.
        rows: all, if left out.
    """

    def __init__(self, table: Array, members: range | None = None, rows: range | None = None):
        self.table, self.dtype = table, table.dtype
        self.members = range(len(table)) if members is None else members
        self.rows = range(table.shape[1]) if rows is None else rows
        self.shape = torch.Size([len(self.members), len(self.rows), *table.shape[2:]])

    def read(self, members: range, rows: range) -> Tensor:
        """See `View`."""
        own = self.members[_slice(members)], self.rows[_slice(rows)]
        return self.table[_slice(own[0]), _slice(own[1])]


def beside(table: Array, sizes: Sequence[int]) -> list[Slice]:
    """The parts of a table whose rows are those of several groups, side by side."""
    ends = list(accumulate(sizes))
    return [
        Slice(table, rows=range(end - size, end)) for size, end in zip(sizes, ends, strict=True)
    ]


def _slice(numbers: range) -> slice:
    return slice(numbers.start, numbers.stop)
