"""EK-FAC: the Gauss-Newton matrix layer by layer, in a form that is inverted in no time.

Source: George et al. 2018, "Fast approximate natural gradient descent in a Kronecker-factored
eigenbasis", arXiv 1806.03884; for attribution Grosse et al. 2023, arXiv 2308.03296. The gradient
of a layer's matrix is a sum over places of what comes in, a, times the slope in what goes out, g.
The eigenvectors of the second moments of a and of g are a basis, and the mean squares of the
gradients along it are the eigenvalues. Slopes are of random outputs u with E[u u^T] = H, the second
derivative of the loss in the outputs. Whatever is trainable and in no layer that `layers` knows
(norms, embeddings, shared weights) gets the diagonal of the matrix.

Differs: u is a root of H times random signs, where sampled labels are usual. A side of more than
WIDE numbers (a vocabulary) keeps its own coordinates for a basis: along it the matrix is taken for
its diagonal. Cost: 6 row units a row, and one row forward, which tells the layers that are used.
Memory: a square of each side that is not wide, the weights once more, and what `slopes` holds.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.curvature.bases import Basis, add, along, along_both, back, eigenvectors, no_moment
from expunge.curvature.layers import Layer
from expunge.curvature.point import Point, Weights
from expunge.curvature.slopes import Slopes, pieces
from expunge.rng import Draws


@dataclass(frozen=True)
class Block:
    """A layer's part of the matrix: orthogonal bases of inputs and outputs, and eigenvalues."""

    layer: Layer
    inner: Basis = field(repr=False)  # (a, a)
    outer: Basis = field(repr=False)  # (o, o)
    scales: Tensor = field(repr=False)  # (o, a)

    def solve(self, vector: Weights, damping: float) -> Weights:
        """(block + damping)^-1 of this layer's part of the weights."""
        turned = along_both(self.layer.matrix(vector), self.inner, self.outer)
        solved = turned / (self.scales + damping)
        solved = along_both(solved, back(self.inner), back(self.outer))
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

    Raises:
        BadInput: what goes through a layer is not finite.
    """
    slopes = Slopes.of(point, rows, draws)
    moments, diagonal = _moments(slopes)
    bases = []
    for layer in slopes.layers:
        inner, outer = moments.pop(0)  # each is let go once it has its basis
        bases.append((eigenvectors(inner, layer.name), eigenvectors(outer, layer.name)))
    scales = [point.weights[layer.weight].new_zeros(layer.shape) for layer in slopes.layers]
    for calls, _ in slopes.batches([]):
        for layer, own, sides, scale in zip(slopes.layers, calls, bases, scales, strict=True):
            for a, g in pieces(layer, own):
                scale += _squares(along(a, sides[0]), along(g, sides[1])) / len(rows)
    blocks = tuple(
        Block(layer, inner, outer, scale)
        for layer, (inner, outer), scale in zip(slopes.layers, bases, scales, strict=True)
    )
    return Ekfac(blocks, diagonal)


def _moments(slopes: Slopes) -> tuple[list[tuple[Basis, Basis]], Weights]:
    """The second moments of each layer's inputs and slopes, and the diagonal of other weights."""
    weights = slopes.point.weights
    covered = {name for layer in slopes.layers for name in layer.parameters}
    diagonal = {n: torch.zeros_like(w) for n, w in weights.items() if n not in covered}
    moments = []
    for layer in slopes.layers:
        outer, inner = layer.shape
        like = weights[layer.weight]
        moments.append((no_moment(inner, like), no_moment(outer, like)))
    for calls, others in slopes.batches(list(diagonal)):
        for layer, own, sides in zip(slopes.layers, calls, moments, strict=True):
            for pair in pieces(layer, own):
                for moment, x in zip(sides, pair, strict=True):
                    add(moment, x)
        for name, slope in others.items():
            # rows' random outputs are independent: the square of their sum is the sum of squares
            # on average, and scatters the less, the fewer rows a batch has
            diagonal[name] += slope.square() / len(slopes.rows)
    return moments, diagonal


def _squares(a: Tensor, g: Tensor) -> Tensor:
    """The squares of rows' gradients, summed over rows, (o, a), from (b, places, a) and (.., o)."""
    if a.shape[1] == 1:  # the square of an outer product is the outer product of the squares
        return g[:, 0].square().T @ a[:, 0].square()
    return torch.einsum("bto,bta->boa", g, a).square_().sum(0)
