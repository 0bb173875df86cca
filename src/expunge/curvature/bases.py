"""Bases of the two sides of a layer's matrix: along eigenvectors, or of a wide side its own."""

import torch
from torch import Tensor

from expunge.errors import BadInput

# The longest side with eigenvectors: 100 MiB of moments in float32, and half a minute of one core.
# Windows of 3 x 3 over 512 channels, the widest of a ResNet-18 and of a ResNet-50, are 4,608.
WIDE = 5120

Basis = Tensor | None  # orthogonal, its vectors the columns; None: the side's own coordinates


def no_moment(side: int, like: Tensor) -> Basis:
    """Zeros (side, side) to sum a second moment in; None for a wide side, which needs none."""
    return None if side > WIDE else like.new_zeros(side, side)


def add(moment: Basis, x: Tensor) -> None:
    """Add the sum of x x^T over rows and places, x (b, places, side), to a moment in its place."""
    if moment is not None:
        flat = x.flatten(0, 1)
        moment.addmm_(flat.T, flat)


def eigenvectors(moment: Basis, name: str) -> Basis:
    """An orthogonal basis along which a layer's second moment is diagonal; None stays None.

    Float32 gives vectors that are orthogonal to 2e-6, of singular moments too; where it does not
    converge, as may happen on a GPU, float64 is used, which takes 2.5 times as long.

    Args:
        moment: (side, side).
        name: the layer's.

    Raises:
        BadInput: a moment that is not finite.
    """
    if moment is None:
        return None
    # of a large matrix that is not finite, eigh gives vectors without a word
    if not moment.isfinite().all():
        raise BadInput(
            f"what goes through layer '{name}', or the slopes in it, is infinite or not a number",
            expected="a trained model with finite outputs and derivatives",
            fix="look whether its training diverged",
        )
    try:
        return torch.linalg.eigh(moment).eigenvectors
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
        return torch.linalg.eigh(moment.double()).eigenvectors.to(moment)


def along(x: Tensor, basis: Basis) -> Tensor:
    """The last axis in coordinates along a basis."""
    return x if basis is None else x @ basis


def along_both(matrix: Tensor, inner: Basis, outer: Basis) -> Tensor:
    """A matrix (o, a) in coordinates along the bases of both sides."""
    return along(along(matrix, inner).T, outer).T


def back(basis: Basis) -> Basis:
    """What leads back from coordinates along a basis."""
    return None if basis is None else basis.T
