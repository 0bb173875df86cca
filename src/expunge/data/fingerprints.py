"""Hashes of rows by what they hold: they find copies, and tell whether data has changed."""

import hashlib

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from expunge.data.data import Data, walk


def fingerprints(data: Data, rows: Tensor) -> Tensor:
    """Two hashes a row, of its inputs and of its targets: int64, (rows, 2).

    Equal rows have equal hashes, so this finds copies of a row, and tells whether the content
    of a stored result's rows has changed since. Reads the whole of each row once; rows of a data
    set with a collate of its own one by one, as what they hold in a batch may depend on the others.
    """
    rows, hashes = rows.cpu(), []
    for batch in data.batches(walk(rows, 1) if data.padded else walk(rows)):
        columns = []
        for tree in (batch.inputs, batch.targets):
            found, _ = tree_flatten_with_path(tree)
            leaves = {keystr(path): leaf.detach().cpu().contiguous() for path, leaf in found}
            columns.append(_hashes(leaves, len(batch.rows)))
        hashes.append(torch.tensor(columns, dtype=torch.int64).T)
    return torch.cat(hashes) if hashes else torch.empty(0, 2, dtype=torch.int64)


def _hashes(leaves: dict[str, Tensor], count: int) -> list[int]:
    """Of each row of a batch; the order of names plays no part, the names do."""
    states = [hashlib.blake2b(digest_size=8) for _ in range(count)]
    for name in sorted(leaves):
        leaf = leaves[name]
        head = name.encode() + repr((leaf.dtype, tuple(leaf.shape[1:]))).encode()
        # as bytes, since numpy has no bfloat16
        for state, row in zip(
            states, leaf.reshape(count, -1).view(torch.uint8).numpy(), strict=True
        ):
            state.update(head)
            state.update(row)
    return [int.from_bytes(state.digest(), signed=True) for state in states]
