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
Memory: the moments of all layers, what `slopes` holds, and twice the weights.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.curvature.layers import Layer
from expunge.curvature.point import Point, Weights
from expunge.curvature.slopes import Slopes, pieces
from expunge.errors import BadInput
from expunge.rng import Draws

# The longest side with eigenvectors: 100 MiB of moments in float32, and half a minute of one core.
# Windows of 3 x 3 over 512 channels, the widest of a ResNet-18 and of a ResNet-50, are 4,608.
WIDE = 5120

Basis = Tensor | None  # orthogonal, its vectors the columns; None: the side's own coordinates


@dataclass(frozen=True)
class Block:
    """A layer's part of the matrix: orthogonal bases of inputs and outputs, and eigenvalues."""

    layer: Layer
    inner: Basis = field(repr=False)  # (a, a)
    outer: Basis = field(repr=False)  # (o, o)
    scales: Tensor = field(repr=False)  # (o, a)

    def solve(self, vector: Weights, damping: float) -> Weights:
        """(block + damping)^-1 of this layer's part of the weights."""
        turned = _both(self.layer.matrix(vector), self.inner, self.outer)
        solved = turned / (self.scales + damping)
        return self.layer.apart(_both(solved, _back(self.inner), _back(self.outer)), vector)


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
    bases, diagonal = _bases(slopes)
    scales = [point.weights[layer.weight].new_zeros(layer.shape) for layer in slopes.layers]
    for calls, _ in slopes.batches([]):
        for layer, own, sides, scale in zip(slopes.layers, calls, bases, scales, strict=True):
            for a, g in pieces(layer, own):
                scale += _squares(_along(a, sides[0]), _along(g, sides[1])) / len(rows)
    blocks = tuple(
        Block(layer, inner, outer, scale)
        for layer, (inner, outer), scale in zip(slopes.layers, bases, scales, strict=True)
    )
    return Ekfac(blocks, diagonal)


def _bases(slopes: Slopes) -> tuple[list[tuple[Basis, Basis]], Weights]:
    """The bases of each layer's inputs and outputs, and the diagonal of other weights."""
    weights = slopes.point.weights
    covered = {name for layer in slopes.layers for name in layer.parameters}
    diagonal = {n: torch.zeros_like(w) for n, w in weights.items() if n not in covered}
    moments = [_moments(layer, weights[layer.weight]) for layer in slopes.layers]
    for calls, others in slopes.batches(list(diagonal)):
        for layer, own, sides in zip(slopes.layers, calls, moments, strict=True):
            for pair in pieces(layer, own):
                for moment, x in zip(sides, pair, strict=True):
                    if moment is not None:
                        flat = x.flatten(0, 1)
                        moment.addmm_(flat.T, flat)
        for name, slope in others.items():
            # rows' random outputs are independent: the square of their sum is the sum of squares
            diagonal[name] += slope.square() / len(slopes.rows)
    bases = []
    for layer in slopes.layers:
        inner, outer = moments.pop(0)  # a moment is let go once it has its basis
        bases.append((eigenvectors(inner, layer.name), eigenvectors(outer, layer.name)))
    return bases, diagonal


def _moments(layer: Layer, like: Tensor) -> tuple[Basis, Basis]:
    """Zeros for the moments of inputs and of slopes; None for a wide side."""
    outer, inner = (None if side > WIDE else like.new_zeros(side, side) for side in layer.shape)
    return inner, outer


def eigenvectors(moment: Basis, name: str) -> Basis:
    """An orthogonal basis along which a layer's second moment is diagonal; None stays None.

    Float32 gives vectors that are orthogonal to 2e-6, of singular moments too; where it does not
    converge, as may happen on a GPU, float64 is used.

    Raises:
        BadInput: a moment that is not finite.
    """
    if moment is None:
        return None
    if not moment.isfinite().all():
        raise BadInput(
            f"what goes through layer '{name}', or the slopes in it, is infinite or not a number",
            expected="a trained model with finite outputs and derivatives",
            cure="look whether its training diverged",
        )
    try:
        return torch.linalg.eigh(moment).eigenvectors
    except torch.linalg.LinAlgError:
        return torch.linalg.eigh(moment.double()).eigenvectors.to(moment)


def _squares(a: Tensor, g: Tensor) -> Tensor:
    """The squares of rows' gradients, summed over rows, (o, a), from (b, places, a) and (.., o)."""
    if a.shape[1] == 1:  # the square of an outer product is the outer product of the squares
        return g[:, 0].square().T @ a[:, 0].square()
    return torch.einsum("bto,bta->boa", g, a).square_().sum(0)


def _along(x: Tensor, basis: Basis) -> Tensor:
    """The last axis in coordinates along a basis."""
    return x if basis is None else x @ basis


def _both(matrix: Tensor, inner: Basis, outer: Basis) -> Tensor:
    """A matrix (o, a) in coordinates along the bases of both sides."""
    return _along(_along(matrix, inner).T, outer).T


def _back(basis: Basis) -> Basis:
    """What leads back from coordinates along a basis."""
    return None if basis is None else basis.T
