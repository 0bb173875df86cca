"""The eigenvalue of largest size of a symmetric matrix that is known by its products alone.

Lanczos's method with thick restarts: Wu and Simon 2000, "Thick-restart Lanczos method for large
symmetric eigenvalue problems", SIAM Journal on Matrix Analysis 22. Where HELD vectors are there,
the KEPT Ritz vectors of the largest values stay and the basis grows again from these; every vector
is made orthogonal to all others, twice. ARPACK (scipy's `eigsh`) is not used because it gives
nothing at all where it has not converged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import BadInput

HELD = 10  # vectors at a time: memory is HELD x the side of the matrix, float64
KEPT = 4  # of them over a restart
ROUNDING = 1e-14  # relative residual that float64 cannot improve


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalue of largest size, as far as it was found.

    Attributes:
        value: with its sign.
        residual: |H v - value v| for the unit vector v that was found; a symmetric matrix has an
            eigenvalue no farther than this from `value`.
        products: of the matrix with a vector that were taken.
        converged: whether the residual is within the tolerance; if not, this is the best found.
    """

    value: float
    residual: float
    products: int
    converged: bool


def largest(
    product: Callable[[Tensor], Tensor], start: Tensor, tolerance: float, most: int
) -> Spectrum:
    """Find the eigenvalue of largest size, be it above or below zero.

    Args:
        product: the matrix times a vector, (n,) -> (n,) float64, on the CPU.
        start: any vector that is not orthogonal to the one that is looked for, e.g. a random one.
        tolerance: largest residual relative to the eigenvalue's size, between 0 and 1.
        most: products, at least 1.

    Raises:
        BadInput: a tolerance or number of products out of range; a product that is not finite.
    """
    if not 0 < tolerance < 1 or most < 1:
        raise BadInput(
            f"tolerance={tolerance} and most={most}",
            expected="a tolerance between 0 and 1, and at least one product",
            fix="1e-3 and 200 serve most networks",
        )
    n = len(start)
    held = min(HELD, n)
    basis = start.new_zeros(held + 1, n, dtype=torch.float64)  # orthonormal lines
    inner = basis.new_zeros(held, held)  # of the lines with the matrix between them
    basis[0] = start / start.norm()
    known = taken = 0  # lines that need no product: those kept over a restart
    while True:
        values = vectors = inner
        for j in range(known, held):
            image = _finite(product(basis[j]))
            taken += 1
            within = basis[: j + 1] @ image
            inner[: j + 1, j] = inner[j, : j + 1] = within
            image = image - within @ basis[: j + 1]
            image -= (basis[: j + 1] @ image) @ basis[: j + 1]
            left = image.norm()
            values, vectors = torch.linalg.eigh(inner[: j + 1, : j + 1])
            best = int(values.abs().argmax())
            value, residual = float(values[best]), float(left * vectors[j, best].abs())
            done = residual <= max(tolerance, ROUNDING) * abs(value)
            if done or taken == most or j + 1 == n:
                return Spectrum(value, residual, taken, done)
            basis[j + 1] = image / left
        known = min(KEPT, held - 1)
        chosen = values.abs().argsort(descending=True)[:known]
        basis[:known] = vectors[:, chosen].T @ basis[:held]
        basis[known] = basis[held].clone()
        inner.zero_()
        inner.diagonal()[:known] = values[chosen]


def _finite(image: Tensor) -> Tensor:
    if not image.isfinite().all():
        raise BadInput(
            f"a product of the Hessian has {int((~image.isfinite()).sum())} numbers that are NaN "
            "or infinite",
            expected="finite second derivatives at these weights and rows",
            fix="look for rows with NaN, for a model that diverged, or a score without a second "
            "derivative, such as a root at 0",
        )
    return image
