"""What goes into layers, and the slopes in what comes out: read by batches, unfolded by pieces.

A convolution's inputs are patches, nine times the picture for a window of 3 x 3, so only what the
layers were given is kept of a batch, and unfolded one layer and a few rows at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.curvature.layers import Layer, layers, recorded
from expunge.curvature.point import NUMBERS, SIZE, Point, Weights
from expunge.curvature.products import output_root
from expunge.data import Batch
from expunge.rng import Draws

Call = tuple[Tensor, Tensor]  # what a layer was given, (B, ...), and the slope in its output


@dataclass(frozen=True)
class Slopes:
    """A reading of some rows; each pass draws the same random outputs.

    Args:
        point: where.
        rows: row numbers.
        draws: of the random outputs; those of a row depend on its place among the rows alone.
        layers: that outputs pass through.
        size: rows a batch.
    """

    point: Point
    rows: Tensor
    draws: Draws
    layers: list[Layer]
    size: int

    @classmethod
    def of(cls, point: Point, rows: Tensor, draws: Draws) -> "Slopes":
        """Find the layers that are used, and how many rows are read at a time, on the first row.

        What the layers take in and give out for a batch is NUMBERS numbers at most.
        """
        known = layers(point.module)
        with torch.no_grad(), recorded(known) as seen:
            for batch in point.batches(rows[:1]):
                point.task.outputs(point.module, batch)
        used = [layer for layer in known if seen[layer.name]]
        numbers = sum(x.numel() for calls in seen.values() for call in calls for x in call)
        return cls(point, rows, draws, used, max(1, min(SIZE, NUMBERS // max(1, numbers))))

    def batches(self, others: list[str]) -> Iterator[tuple[list[list[Call]], Weights]]:
        """Of each batch the calls of each layer, and the gradients of the other weights named.

        The gradients are of outputs times random outputs, summed over the batch.
        """
        start = 0
        for batch in self.point.batches(self.rows, self.size):
            yield self._read(batch, start, others)
            start += len(batch.rows)

    def _read(
        self, batch: Batch, start: int, others: list[str]
    ) -> tuple[list[list[Call]], Weights]:
        task, module = self.point.task, self.point.module
        free = dict(module.named_parameters())
        with torch.enable_grad(), recorded(self.layers) as seen:
            z = task.outputs(module, batch)
            places = range(start, start + len(z))
            coins = self.draws.at("outputs").of(places).integers(2, z.shape[1:])
            u = output_root(task, batch, z.detach(), 2.0 * coins.to(z) - 1.0)
            calls = [call for layer in self.layers for call in seen[layer.name]]
            wanted = [out for _, out in calls] + [free[name] for name in others]
            found = iter(torch.autograd.grad((z * u).sum(), wanted, materialize_grads=True))
        own = [[(given, next(found)) for given, _ in seen[layer.name]] for layer in self.layers]
        return own, dict(zip(others, found, strict=True))


def pieces(layer: Layer, calls: list[Call]) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (b, places, a) and slopes (b, places, o) of a few rows, those of all calls joined.

    There are so few rows that these, as many again, and the rows' gradients (b, o, a) are NUMBERS
    numbers at most; of one row there may be more.
    """
    outer, inner = layer.shape
    rows = len(calls[0][0])
    places = sum(slope.numel() for _, slope in calls) // (rows * outer)
    size = max(1, NUMBERS // (2 * places * (inner + outer) + outer * inner))
    for cut in (slice(start, start + size) for start in range(0, rows, size)):
        a = [layer.inputs(given[cut]) for given, _ in calls]
        g = [layer.outputs(slope[cut]) for _, slope in calls]
        yield torch.cat(a, dim=1), torch.cat(g, dim=1)
