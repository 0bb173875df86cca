"""What goes into layers, and the slopes in what comes out: read by batches, unfolded by pieces.

A convolution's inputs are patches, nine times the picture for a window of 3 x 3, so only what the
layers were given is kept of a batch, and unfolded one layer and a few rows at a time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.curvature.layers import Layer, layers, recorded
from expunge.curvature.point import NUMBERS, SIZE, Point, Weights, dense
from expunge.curvature.products import output_root
from expunge.data import Batch
from expunge.data.padding import MASK
from expunge.rng import Draws


class Call(NamedTuple):
    """What went through a layer once."""

    given: Tensor  # (B, ...)
    slope: Tensor  # in its output
    tokens: Tensor | None = (
        None  # (B, places), 0 at padding, whose inputs are not counted; None: all are
    )


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
        own = [
            [Call(given, next(found), _tokens(batch, given)) for given, _ in seen[layer.name]]
            for layer in self.layers
        ]
        return own, {name: dense(g) for name, g in zip(others, found, strict=True)}


def _tokens(batch: Batch, given: Tensor) -> Tensor | None:
    """The mask of a padded batch, where it is of the places that go into a layer."""
    mask = batch.inputs.get(MASK) if isinstance(batch.inputs, Mapping) else None
    if mask is None or given.ndim != 3 or mask.shape != given.shape[:2]:
        return None
    return (mask != 0).to(given)


def pieces(layer: Layer, calls: list[Call]) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (b, places, a) and slopes (b, places, o) of a few rows, those of all calls joined.

    There are so few rows that these, as many again, and the rows' gradients (b, o, a) are NUMBERS
    numbers at most; of one row there may be more.
    """
    outer, inner = layer.shape
    rows = len(calls[0].given)
    places = sum(call.slope.numel() for call in calls) // (rows * outer)
    size = max(1, NUMBERS // (2 * places * (inner + outer) + outer * inner))
    for cut in (slice(start, start + size) for start in range(0, rows, size)):
        a = [_inputs(layer, call, cut) for call in calls]
        g = [layer.outputs(call.slope[cut]) for call in calls]
        yield torch.cat(a, dim=1), torch.cat(g, dim=1)


def _inputs(layer: Layer, call: Call, cut: slice) -> Tensor:
    found = layer.inputs(call.given[cut])
    return found if call.tokens is None else found * call.tokens[cut, :, None]
