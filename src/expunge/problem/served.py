"""Data as they are served after a request: what a model may see of linked rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from expunge.data import Batch, Data


@dataclass(frozen=True)
class Served(Data):
    """Linked rows, read as if the forgotten ones did not exist.

    The forgotten rows themselves are read as the original saw them: nobody else can hold them.
    """

    before: Data  # with the forgotten rows
    after: Data  # without them
    forgotten: Tensor  # (n,) bool, of these rows
    linked = True

    def __post_init__(self) -> None:
        for name in ("augments", "padded"):
            object.__setattr__(self, name, getattr(self.before, name))

    def __len__(self) -> int:
        return len(self.before)

    @property
    def whole(self) -> Data:
        """See `Data.whole`."""
        return self.before

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`; a row holds the same whatever others are in its batch."""
        for rows in plan:
            gone = self.forgotten[rows.cpu()].to(rows.device)
            (kept,) = (self.before if gone.all() else self.after).batches([rows], training)
            if gone.any() and not gone.all():
                (own,) = self.before.batches([rows], training)
                inputs, targets = tree_map(
                    lambda a, b, gone=gone: torch.where(_beside(gone, a), a, b),
                    (own.inputs, own.targets),
                    (kept.inputs, kept.targets),
                )
                kept = Batch(inputs, targets, rows)
            yield kept

    def restrict(self, present: Tensor) -> Data:
        """See `Data.restrict`; what is served counts no more."""
        return self.before.restrict(present)


def _beside(gone: Tensor, leaf: Tensor) -> Tensor:
    return gone.view(*gone.shape, *[1] * (leaf.ndim - gone.ndim))
