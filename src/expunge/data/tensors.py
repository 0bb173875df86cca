"""TensorData: rows held in memory."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from expunge.data.data import CHUNK, Batch, Data, _not_finite, _refuse
from expunge.errors import BadInput


class TensorData(Data):
    """Rows held in memory as tensors.

    Args:
        inputs: a tensor, or a tree (dict, tuple) of tensors, each with n rows first.
        targets: class numbers int64 (n,), or values (n,).
    """

    def __init__(self, inputs: Any, targets: Any) -> None:
        try:
            inputs, targets = tree_map(_tensor, (inputs, targets))
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"inputs or targets that are no arrays of numbers ({error})",
                expected="tensors or arrays",
                fix="turn text and objects into numbers first",
            ) from error
        sizes = {len(leaf) for leaf in tree_leaves((inputs, targets))}
        if len(sizes) != 1:
            raise BadInput(
                f"inputs and targets have {sorted(sizes)} rows",
                expected="the same number of rows in every tensor",
                fix="check how the arrays were cut",
            )
        self.inputs, self.targets = inputs, targets
        self._rows = sizes.pop()
        self._copies: dict[torch.device, tuple[Any, Any]] = {}
        self._unusable: Tensor | None = None  # which rows; empty where none is

    def __len__(self) -> int:
        return self._rows

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`; `training` changes nothing here."""
        for rows in plan:
            inputs, targets = self._on(rows.device)
            self._require_usable(rows)
            yield Batch(tree_map(lambda t, r=rows: _take(t, r), inputs), _take(targets, rows), rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copies": {}}

    def _on(self, device: torch.device) -> tuple[Any, Any]:
        if device not in self._copies:
            self._copies[device] = tree_map(lambda t: t.to(device), (self.inputs, self.targets))
        return self._copies[device]

    def _require_usable(self, rows: Tensor) -> None:
        if self._unusable is None:
            unusable = torch.zeros(len(self), dtype=torch.bool)
            for leaf in tree_leaves((self.inputs, self.targets)):
                # by pieces: looking takes as much memory as what is looked at
                unusable |= torch.cat([_not_finite(piece).cpu() for piece in leaf.split(CHUNK)])
            self._unusable = unusable if unusable.any() else unusable[:0]
        if len(self._unusable):  # rare: only then does a batch wait for the device
            _refuse(rows.cpu(), self._unusable[rows.cpu()])


def _tensor(given: Any) -> Tensor:
    """A tensor in the same memory where that can be; nothing here writes into it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.as_tensor(given)


def _take(tensor: Tensor, rows: Tensor) -> Tensor:
    """`tensor[rows]`, which on a CPU takes up to five times as long."""
    if not tensor.is_contiguous():  # the rows lie as the data do: with channels last
        return tensor[rows]
    return tensor.index_select(0, rows.reshape(-1)).view(*rows.shape, *tensor.shape[1:])
