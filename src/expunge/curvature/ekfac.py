"""EK-FAC: the Gauss-Newton matrix layer by layer, in a form that is inverted in no time.

Source: George et al. 2018, "Fast approximate natural gradient descent in a Kronecker-factored
eigenbasis", arXiv 1806.03884; for attribution Grosse et al. 2023, arXiv 2308.03296. The gradient
of a layer's matrix is a sum over places of what comes in, a, times the slope in what goes out, g.
The eigenvectors of the second moments of a and of g are a basis, and the mean squares of the
gradients along it are the eigenvalues. Slopes are of random outputs u with E[u u^T] = H, the second
derivative of the loss in the outputs. Whatever is trainable and in no layer that `layers` knows
(norms, embeddings, shared weights) gets the diagonal of the matrix. Differs: u has random signs
along the eigenvectors of H, where sampled labels are usual. Cost: 6 row units a row, and one row
forward, which tells the layers that are used.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.curvature.layers import Layer, layers, recorded
from expunge.curvature.point import NUMBERS, Point, Weights
from expunge.curvature.products import output_curvature
from expunge.data import Batch
from expunge.rng import Draws

Pairs = list[tuple[Tensor, Tensor]]  # for each layer: a (B, places, a) and g (B, places, o)


@dataclass(frozen=True)
class Block:
    """A layer's part of the matrix: orthogonal bases of inputs and outputs, and eigenvalues."""

    layer: Layer
    inner: Tensor = field(repr=False)  # (a, a)
    outer: Tensor = field(repr=False)  # (o, o)
    scales: Tensor = field(repr=False)  # (o, a)

    def solve(self, vector: Weights, damping: float) -> Weights:
        """(block + damping)^-1 of this layer's part of the weights."""
        turned = self.outer.T @ self.layer.matrix(vector) @ self.inner
        solved = self.outer @ (turned / (self.scales + damping)) @ self.inner.T
        return self.layer.apart(solved, vector)


@dataclass(frozen=True)
class Ekfac:
    """A fitted matrix; `solve` multiplies by its damped inverse."""

    blocks: tuple[Block, ...]
    diagonal: Weights  # of the trainable weights that no block covers

    def solve(self, vector: Weights, damping: float) -> Weights:
        """(matrix + damping)^-1 v, v shaped as the weights."""
        found = {name: vector[name] / (value + damping) for name, value in self.diagonal.items()}
        for block in self.blocks:
            found |= block.solve(vector, damping)
        return {name: found[name] for name in vector}


def ekfac(point: Point, rows: Tensor, draws: Draws) -> Ekfac:
    """Fit the matrix, a mean over rows, on these rows.

    Args:
        point: where.
        rows: row numbers; each is read twice.
        draws: of the random outputs.
    """
    chosen = _used(point, rows)
    covered = {name for layer in chosen for name in layer.parameters}
    diagonal = {n: torch.zeros_like(w) for n, w in point.weights.items() if n not in covered}
    moments: list = [[0.0, 0.0] for _ in chosen]
    for pairs, others in _slopes(point, rows, draws, chosen, list(diagonal)):
        for moment, pair in zip(moments, pairs, strict=True):
            for k, x in enumerate(pair):
                moment[k] += torch.einsum("btx,bty->xy", x, x)
        for name, slope in others.items():
            # rows' random outputs are independent: the square of their sum is the sum of squares
            diagonal[name] += slope.square() / len(rows)
    bases = [[torch.linalg.eigh(m).eigenvectors for m in pair] for pair in moments]
    scales: list = [0.0 for _ in chosen]
    for pairs, _ in _slopes(point, rows, draws, chosen, []):
        for k, ((inner, outer), (a, g)) in enumerate(zip(bases, pairs, strict=True)):
            size = max(1, NUMBERS // (inner.shape[0] * outer.shape[0]))
            for part_a, part_g in zip(
                (a @ inner).split(size), (g @ outer).split(size), strict=True
            ):
                gradients = torch.einsum("bto,bta->boa", part_g, part_a)
                scales[k] += gradients.square().sum(0) / len(rows)
    blocks = tuple(
        Block(layer, inner, outer, scale)
        for layer, (inner, outer), scale in zip(chosen, bases, scales, strict=True)
    )
    return Ekfac(blocks, diagonal)


def _used(point: Point, rows: Tensor) -> list[Layer]:
    """The layers that outputs pass through."""
    known = layers(point.module)
    with torch.no_grad(), recorded(known) as seen:
        for batch in point.batches(rows[:1]):
            point.task.outputs(point.module, batch)
    return [layer for layer in known if seen[layer.name]]


def _slopes(
    point: Point, rows: Tensor, draws: Draws, chosen: list[Layer], others: list[str]
) -> Iterator[tuple[Pairs, Weights]]:
    """Of each batch, the layers' inputs and slopes, and the gradients of other weights."""
    free = dict(point.module.named_parameters())
    for k, batch in enumerate(point.batches(rows)):
        with torch.enable_grad(), recorded(chosen) as seen:
            z = point.task.outputs(point.module, batch)
            u = random_outputs(point, batch, z.detach(), draws.at("outputs", k))
            calls = [(layer, *call) for layer in chosen for call in seen[layer.name]]
            wanted = [out for _, _, out in calls] + [free[name] for name in others]
            found = torch.autograd.grad((z * u).sum(), wanted, materialize_grads=True)
        pairs = []
        for layer in chosen:
            own = [
                (layer.inputs(given), layer.outputs(slope))
                for (other, given, _), slope in zip(calls, found, strict=False)
                if other is layer
            ]
            a, g = zip(*own, strict=True)
            pairs.append((torch.cat(a, dim=1), torch.cat(g, dim=1)))
        yield pairs, dict(zip(others, found[len(calls) :], strict=True))


def random_outputs(point: Point, batch: Batch, z: Tensor, draws: Draws) -> Tensor:
    """(B, C) with mean 0 and, for each row, covariance H: signs along the eigenvectors of H."""
    values, vectors = torch.linalg.eigh(output_curvature(point.task, batch, z))
    signs = 2.0 * draws.integers(2, z.shape).to(z) - 1.0
    return (vectors @ (values.clamp_min(0).sqrt() * signs)[..., None]).squeeze(-1)
