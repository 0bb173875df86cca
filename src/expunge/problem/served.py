"""Data as they are served after a request: one way to what a model may see of linked rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from expunge.data import Batch, Data


@dataclass(frozen=True)
class Served(Data):
    """Linked rows, read as if the forgotten ones did not exist.

    A batch with a forgotten row in it is read as the original saw it: nobody else can hold it.
    """

    before: Data  # with the forgotten rows
    after: Data  # without them
    forgotten: Tensor  # (n,) bool, of these rows
    linked = True

    def __len__(self) -> int:
        return len(self.before)

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`."""
        for rows in plan:
            data = self.before if self.forgotten[rows.cpu()].any() else self.after
            yield from data.batches([rows], training)

    def restrict(self, present: Tensor) -> Data:
        """See `Data.restrict`; what is served counts no more."""
        return self.before.restrict(present)
