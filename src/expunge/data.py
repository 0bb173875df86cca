"""Rows by number, as device batches: TensorData in memory, DatasetData of any map-style Dataset."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import chain
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, default_collate

from expunge.errors import BadInput
from expunge.reading import Joined, Numbered, joined

READ_TWICE = 16  # rows read twice by DatasetData: a coin flip a row is missed once in 65,536 times
CHUNK = 1024  # rows read at a time where the whole of a data set is walked through


class Batch(NamedTuple):
    """Some rows: inputs and targets are trees of tensors with the row axes of `rows` first."""

    inputs: Any
    targets: Any
    rows: Tensor  # int64, (B,), or (K, B) with other rows for each of K members


class Data(Protocol):
    """Rows with fixed numbers 0..n-1."""

    def __len__(self) -> int: ...

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """The rows of each entry of `plan`, (B,) or (K, B) int64, on that entry's device.

        The plan is known ahead so that an implementation may prefetch. With `training` the rows
        may be augmented; without, the same row always has the same content.
        """
        ...


class TensorData:
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
                cure="turn text and objects into numbers first",
            ) from error
        sizes = {len(leaf) for leaf in tree_leaves((inputs, targets))}
        if len(sizes) != 1:
            raise BadInput(
                f"inputs and targets have {sorted(sizes)} rows",
                expected="the same number of rows in every tensor",
                cure="check how the arrays were cut",
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


class DatasetData:
    """Rows of a map-style `torch.utils.data.Dataset` whose items are (input, target).

    Args:
        train: the data set as it is trained on, perhaps with random augmentation.
        clean: the same rows without augmentation; default `train` itself, which must then give
            the same content at every read.
        collate: makes a batch of a list of items, such as `Padding` for tokens; default torch's
            `default_collate`. What a row holds may depend on the others of its batch only by
            padding that the model does not see.
        workers: processes that read ahead; 0 reads in this one.

    Raises:
        BadInput: the content of a row differs between two reads, an item is not a pair, or rows
            cannot be joined into a batch.
    """

    def __init__(
        self,
        train: Any,
        clean: Any = None,
        *,
        collate: Callable[[list], Any] = default_collate,
        workers: int = 0,
    ) -> None:
        self.train, self.clean = train, train if clean is None else clean
        self.collate, self.workers = collate, workers
        if not isinstance(self.clean, Sized) or not isinstance(self.train, Sized):
            raise BadInput(
                f"{type(self.clean).__name__} has no length",
                expected="a map-style Dataset with __len__ and __getitem__",
                cure="materialise an iterable data set first, so that rows have numbers",
            )
        if len(self.train) != len(self.clean):
            raise BadInput(
                f"train has {len(self.train)} rows and clean has {len(self.clean)}",
                expected="the same rows twice, with and without augmentation",
                cure="build both from the same records",
            )
        self._require_stable()

    def __len__(self) -> int:
        return len(self.clean)

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`; `training` reads `train`, otherwise `clean` is read."""
        plan, waiting = iter(plan), deque()
        first = next(plan, None)
        if first is None:
            return

        def asked() -> Iterator[list[int]]:
            for rows in chain([first], plan):  # a plan may be longer than memory
                waiting.append(rows)
                yield rows.flatten().tolist()

        loader = DataLoader(
            Numbered(self.train if training else self.clean),  # type: ignore[arg-type]
            batch_sampler=asked(),  # type: ignore[arg-type]
            collate_fn=Joined(self.collate),
            num_workers=self.workers,
            pin_memory=self.workers > 0 and first.device.type == "cuda",
            # a generator of its own: the loader would otherwise draw from the global one
            generator=torch.Generator().manual_seed(torch.initial_seed() % 2**63),
        )
        for content in loader:
            rows = waiting.popleft()
            if isinstance(content, BadInput):
                raise content
            inputs, targets = content
            flat = rows.flatten().cpu()
            for leaf in tree_leaves((inputs, targets)):
                refuse_unusable(flat, leaf)
            inputs, targets = fetched(
                tree_map(lambda t, r=rows: t.reshape(*r.shape, *t.shape[1:]), (inputs, targets)),
                rows.device,
            )
            yield Batch(inputs, targets, rows)

    def _require_stable(self) -> None:
        rows = torch.linspace(0, len(self) - 1, min(READ_TWICE, len(self))).long().tolist()
        places = range(len(rows))
        items, again = ([self.clean[i] for i in rows] for _ in range(2))
        first, second = (
            [tree_leaves(joined(self.collate, rows[k : k + 1], read[k : k + 1])) for k in places]
            for read in (items, again)
        )
        if rows:
            joined(self.collate, rows, items)  # whether rows fit beside one another, too
        for row, a, b in zip(rows, first, second, strict=True):
            if not all(
                torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a, b, strict=True)
            ):
                raise BadInput(
                    f"row {row} of {type(self.clean).__name__} had other content when read again",
                    expected="the same content at every read, or predictions cannot be compared",
                    cure="pass the rows without augmentation too: DatasetData(train, clean=...)",
                )


def augments_itself(data: Data) -> bool:
    """Whether training reads other content than judging, with draws that a group would share."""
    return isinstance(data, DatasetData) and data.train is not data.clean


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


def _tensor(given: Any) -> Tensor:
    """A tensor in the same memory where that can be; nothing here writes into it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.as_tensor(given)


def _not_finite(content: Tensor) -> Tensor:
    """Which rows hold a NaN or an infinity, bool, (B,)."""
    if not content.is_floating_point():
        return torch.zeros(len(content), dtype=torch.bool)
    return ~content.flatten(1).isfinite().all(-1) if content.ndim > 1 else ~content.isfinite()


def _take(tensor: Tensor, rows: Tensor) -> Tensor:
    """`tensor[rows]`, which on a CPU takes up to five times as long."""
    if not tensor.is_contiguous():  # the rows lie as the data do: with channels last
        return tensor[rows]
    return tensor.index_select(0, rows.reshape(-1)).view(*rows.shape, *tensor.shape[1:])


def _refuse(rows: Tensor, unusable: Tensor) -> None:
    if unusable.any():
        bad = rows[unusable].unique()
        raise BadInput(
            f"{len(bad)} of the rows that are read hold NaN or infinity, first row {bad[0].item()}",
            expected="finite numbers in every row that is read",
            cure="repair these rows or forget them",
        )
