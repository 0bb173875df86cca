"""Data: rows by number, as device batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from expunge.errors import BadInput

CHUNK = 1024  # rows read at a time where the whole of a data set is walked through


class Batch(NamedTuple):
    """Some rows: inputs and targets are trees of tensors with the row axes of `rows` first."""

    inputs: Any
    targets: Any
    rows: Tensor  # int64, (B,), or (K, B) with other rows for each of K members


class Data(ABC):
    """Rows with fixed numbers 0..n-1.

    Attributes:
        augments: training reads other content than judging, by draws that a group would share.
        padded: what a row holds in a batch depends on the others there, by padding alone.
        linked: what a row holds depends on other train rows, as a node of a graph holds its
            neighbours; `restrict` then takes rows out of all others.
    """

    augments: bool = False
    padded: bool = False
    linked: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """The rows of each entry of `plan`, (B,) or (K, B) int64, on that entry's device.

        The plan is known ahead so that an implementation may prefetch. With `training` the rows
        may be augmented; without, the same row always has the same content.
        """

    @property
    def whole(self) -> "Data":
        """The data of which these are a view; mostly themselves."""
        return self

    def restrict(self, present: Tensor) -> "Data":
        """The same rows in a world in which only some train rows exist; row numbers stay.

        What was restricted before counts no more: the data keep the whole. Data whose rows do not
        depend on one another are returned as they are.

        Args:
            present: (train rows,) bool.
        """
        return self


def walk(rows: Tensor, size: int = CHUNK) -> Iterator[Tensor]:
    """Consecutive pieces of at most `size` of these row numbers."""
    return iter(rows.split(size)) if len(rows) else iter(())


def fetched(content: Any, device: torch.device) -> Any:
    """A tree of tensors on a device; what lies in pinned memory an accelerator gets meanwhile."""
    return tree_map(lambda t: t.to(device, non_blocking=device.type == "cuda"), content)


def refuse_unusable(rows: Tensor, content: Tensor) -> None:
    """Raise BadInput where what some rows hold is NaN or infinite.

    Args:
        rows: their numbers, (B,).
        content: (B, ...).
    """
    _refuse(rows, _not_finite(content))


def _not_finite(content: Tensor) -> Tensor:
    """Which rows hold a NaN or an infinity, bool, (B,)."""
    if not content.is_floating_point():
        return torch.zeros(len(content), dtype=torch.bool)
    return ~content.flatten(1).isfinite().all(-1) if content.ndim > 1 else ~content.isfinite()


def _refuse(rows: Tensor, unusable: Tensor) -> None:
    if unusable.any():
        bad = rows[unusable].unique()
        raise BadInput(
            f"{len(bad)} of the rows that are read hold NaN or infinity, first row {bad[0].item()}",
            expected="finite numbers in every row that is read",
            fix="repair these rows or forget them",
        )
