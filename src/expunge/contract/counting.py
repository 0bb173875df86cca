"""What is read and what passes forward, counted where it happens."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from expunge.contract.problems import mlp64
from expunge.data import Batch, TensorData


class Counting(TensorData):
    """Counts the rows that are read, by a member."""

    read = 0

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`."""
        for batch in super().batches(plan, training):
            self.read += batch.rows.shape[-1]
            yield batch


class Passes(nn.Module):
    """A network that counts the rows that pass forward, whoever calls it, copies included."""

    rows = 0

    def __init__(self):
        super().__init__()
        self.net = mlp64()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (rows, CLASSES)."""
        Passes.rows += len(x)
        return self.net(x)
