"""Arrays that stay in a safetensors file, which may be larger than memory; pieces of them are read.

They are read and not mapped: the pages of a mapped file count as memory of this process, all of
the file where the system caches it in large pages.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from expunge.audit.views import View


def filed(path: Path) -> dict[str, "Filed"]:
    """The tensors of a safetensors file by name, unread.

    Raises:
        SafetensorError: the file is damaged or cut short.
    """
    with safe_open(path, "pt") as file:  # checks that the file is whole
        known = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {
        name: Filed(path, 8 + size + header[name]["data_offsets"][0], like.shape, like.dtype)
        for name, like in known.items()
    }


class Filed(View):
    """One tensor of a file.

    Args:
        path: the file.
        start: byte at which the tensor begins.
        shape: (members, rows, ...).
        dtype: of its numbers.
    """

    def __init__(self, path: Path, start: int, shape: torch.Size, dtype: torch.dtype) -> None:
        self.path, self.start, self.shape, self.dtype = path, start, shape, dtype

    def read(self, members: range, rows: range) -> Tensor:
        """See `View`."""
        found = torch.empty(len(members), len(rows), *self.shape[2:], dtype=self.dtype)
        if not found.numel():
            return found
        of_row = found[0, 0].numel() * found.element_size()
        of_member = self.shape[1] * of_row
        with self.path.open("rb", buffering=0) as file:
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
            raise EOFError(f"{path} is shorter than when it was opened")
        room = room[count:]
