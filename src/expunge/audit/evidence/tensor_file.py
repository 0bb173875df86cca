"""Arrays that stay in a safetensors file, which may be larger than memory; pieces of them are read.

They are read and not mapped: the pages of a mapped file count as memory of this process, all of
the file where the system caches it in large pages.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from expunge.audit.evidence.views import View
from expunge.errors import BadInput

Stamp = tuple[int, int, int]


def filed(path: Path) -> dict[str, "TensorFile"]:
    """The tensors of a safetensors file by name, unread.

    Raises:
        SafetensorError: the file is damaged or cut short.
    """
    seen = stamp(path)
    whole = path.stat().st_size
    with path.open("rb") as file:  # not by `safe_open`, which maps it
        size = int.from_bytes(file.read(8), "little")
        header = file.read(min(size, whole))
    start, end, found = 8 + size, 0, {}
    try:
        told = json.loads(header)
        told.pop("__metadata__", None)
        for name, one in sorted(told.items(), key=lambda entry: entry[1]["data_offsets"]):
            shape, dtype = torch.Size(one["shape"]), DTYPES[one["dtype"]]
            if one["data_offsets"] != [end, end + shape.numel() * dtype.itemsize]:
                raise ValueError(f"{name} is not where it should be")
            found[name] = TensorFile(path, start + end, shape, dtype, seen)
            end = one["data_offsets"][1]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SafetensorError(f"its header cannot be read: {error}") from error
    if start + end != whole:
        raise SafetensorError(f"it has {whole} bytes where its header tells of {start + end}")
    return found


DTYPES = {  # by the names of the format
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


class TensorFile(View):
    """One tensor of a file.

    Args:
        path: the file.
        start: byte at which the tensor begins.
        shape: (members, rows, ...).
        dtype: of its numbers.
        seen: the file's `stamp` when its header, and perhaps its checksum, was read.
    """

    def __init__(
        self, path: Path, start: int, shape: torch.Size, dtype: torch.dtype, seen: Stamp
    ) -> None:
        self.path, self.start, self.shape, self.dtype = path, start, shape, dtype
        self.seen = seen

    def read(self, members: range, rows: range) -> Tensor:
        """See `View`."""
        found = torch.empty(len(members), len(rows), *self.shape[2:], dtype=self.dtype)
        if not found.numel():
            return found
        of_row = found[0, 0].numel() * found.element_size()
        of_member = self.shape[1] * of_row
        with self.path.open("rb", buffering=0) as file:
            require_same(self.path, stamp(file.fileno()), self.seen)
            for member, own in zip(members, found, strict=True):
                file.seek(self.start + member * of_member + rows.start * of_row)
                _fill(file, own, self.path)
        return found


def _fill(file: Any, own: Tensor, path: Path) -> None:
    """Read as many bytes as a tensor holds, into it."""
    room = own.reshape(-1).view(torch.uint8).numpy().data
    while room:
        count = file.readinto(room)
        if not count:
            raise _changed(path)
        room = room[count:]


def stamp(file: Path | int) -> Stamp:
    """What tells a file, by path or open, from another at its place and from itself changed."""
    found = os.stat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns


def require_same(path: Path, now: Stamp, seen: Stamp) -> None:
    """Raise BadInput where a file is not what it was when it was looked at."""
    if now != seen:
        raise _changed(path)


def _changed(path: Path) -> BadInput:
    return BadInput(
        f"{path} has changed since it was opened",
        expected="evidence that stays as it is while it is read",
        fix="run the command again when nothing else writes there",
    )
