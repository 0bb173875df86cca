"""MappedData: rows in files that are mapped into memory, for data that does not fit there."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from mmap import ALLOCATIONGRANULARITY
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from expunge.data.data import Batch, Data, fetched, refuse_unusable
from expunge.errors import BadInput, first_line

AHEAD = 2  # batches that each thread may be ahead


class Place(NamedTuple):
    """Where an array lies in a file; what travels to another process in the array's stead."""

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int  # bytes before its first number

    def open(self) -> np.ndarray:
        """The array; the operating system reads what is asked for, and nothing can be written."""
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return mapped.view(np.ndarray)  # whose rows are taken faster


class MappedData(Data):
    """Rows in `.npy` files: of each batch its own rows are read, and nothing else is ever held.

    What was read stays in the operating system's cache as long as there is memory to spare. The
    files are opened for reading only, whatever they were opened for before, and must not change.

    Args:
        inputs: the path of an `.npy` file, or an array opened by `np.load(path, mmap_mode="r")` or
            `np.memmap`, or a consecutive part of its rows; or a tree (dict, tuple) of these. Each
            has n rows first, and the numbers are given as they are: a model whose pixels are uint8
            turns them into floating point itself.
        targets: the same; class numbers int64 (n,), or values (n,).
        workers: threads that read ahead, for files that are larger than memory; 0 reads when a
            batch is needed.

    Raises:
        BadInput: no such file, arrays that cannot be mapped, or of unequal length.
    """

    def __init__(self, inputs: Any, targets: Any, *, workers: int = 0) -> None:
        self.inputs, self.targets = tree_map(_place, (inputs, targets))
        self.workers = workers
        sizes = {place.shape[0] for place in _places((self.inputs, self.targets))}
        if len(sizes) != 1:
            raise BadInput(
                f"files with {sorted(sizes)} rows",
                expected="the same number of rows in every file",
                fix="check how the arrays were written",
            )
        self._rows = sizes.pop()
        self._open: Any = None

    def __len__(self) -> int:
        return self._rows

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`; `training` changes nothing here."""
        for rows, content in ahead(self._read, plan, self.workers):
            inputs, targets = fetched(content, rows.device)
            yield Batch(inputs, targets, rows)

    def _read(self, rows: Tensor) -> Any:
        """The inputs and targets of these rows on the CPU, where an accelerator can fetch them."""
        flat = rows.flatten().cpu()
        content = tree_map(
            lambda array: torch.from_numpy(array.take(flat.numpy(), 0)), self._arrays
        )
        for leaf in tree_leaves(content):
            refuse_unusable(flat, leaf)
        if rows.device.type == "cuda":
            content = tree_map(lambda t: t.pin_memory(), content)
        return tree_map(lambda t: t.reshape(*rows.shape, *t.shape[1:]), content)

    @property
    def _arrays(self) -> Any:
        if self._open is None:
            both = self.inputs, self.targets
            self._open = tree_map(lambda place: place.open(), both, is_leaf=_is_place)
        return self._open


def ahead(
    read: Callable[[Tensor], Any], plan: Iterable[Tensor], workers: int
) -> Iterator[tuple[Tensor, Any]]:
    """Each entry of a plan and what `read` makes of it, in order.

    Args:
        read: called in threads, so that the next batches are fetched while this one is used.
        plan: no more of it is looked at than is read ahead.
        workers: threads; 0 reads in this one.
    """
    if not workers:
        yield from ((rows, read(rows)) for rows in plan)
        return
    waiting: deque[tuple[Tensor, Future]] = deque()
    pool = ThreadPoolExecutor(workers, "read ahead")
    try:
        for rows in plan:
            waiting.append((rows, pool.submit(read, rows)))
            if len(waiting) > AHEAD * workers:
                first, content = waiting.popleft()
                yield first, content.result()
        while waiting:
            first, content = waiting.popleft()
            yield first, content.result()
    finally:  # also where whoever reads stops early
        pool.shutdown(cancel_futures=True)


def _is_place(leaf: Any) -> bool:
    return isinstance(leaf, Place)


def _places(tree: Any) -> list[Place]:
    return tree_leaves(tree, is_leaf=_is_place)


def _place(given: Any) -> Place:
    """Where an array lies that is given by its file's path or as it was mapped."""
    if isinstance(given, str | Path):
        try:
            given = np.load(given, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(
                f"{given} cannot be mapped into memory ({first_line(error)})",
                expected="the path of an .npy file with numbers",
                fix="write it with numpy.save, or numpy.lib.format.open_memmap piece by piece",
            ) from error
    if not isinstance(given, np.memmap) or given.filename is None or given.mode == "c":
        private = isinstance(given, np.memmap)
        raise BadInput(
            "a copy-on-write map" if private else f"a {type(given).__name__} for MappedData",
            expected='paths of .npy files, or arrays of np.load(path, mmap_mode="r")',
            fix="open it for reading" if private else "use TensorData for what lies in memory",
        )
    if not given.ndim or not given.flags.c_contiguous:
        raise BadInput(
            f"an array of shape {given.shape} whose rows do not follow one another in the file",
            expected="rows first, in C order, all of each row",
            fix="write the array anew: numpy.save(path, numpy.ascontiguousarray(array))",
        )
    try:
        torch.from_numpy(np.empty(0, given.dtype))
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{given.filename} holds {given.dtype}, which torch does not know",
            expected="numbers of this machine's byte order",
            fix="write the file anew as float32, int64 or uint8",
        ) from error
    file = np.frombuffer(given._mmap, np.uint8)  # pyright: ignore[reportAttributeAccessIssue]
    inside = given.ctypes.data - file.ctypes.data
    # a part of an array keeps the offset of the whole; the file is mapped from a page's beginning
    start = given.offset - given.offset % ALLOCATIONGRANULARITY
    return Place(Path(given.filename).resolve(), given.dtype, given.shape, start + inside)
