"""The eigenvalue of largest size by products alone, on matrices with known spectra."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from expunge.contract.problems import generator
from expunge.curvature.lanczos import HELD, largest

SIDE = 60


def matrix(values: torch.Tensor) -> torch.Tensor:
    """A symmetric matrix with these eigenvalues."""
    side = len(values)
    random = torch.randn(side, side, generator=generator(1), dtype=torch.float64)
    turned = torch.linalg.qr(random)[0]
    return turned @ values.double().diag() @ turned.T


def found(of: torch.Tensor, tolerance: float = 1e-8, most: int = 3000):
    start = torch.randn(len(of), generator=generator(2), dtype=torch.float64)
    return largest(lambda v: of @ v, start, tolerance, most)


SPECTRA = {
    "spread": torch.linspace(-1, 2, SIDE),
    "negative": torch.linspace(-2, 1, SIDE),
    "one far off": torch.cat([torch.linspace(0, 1, SIDE - 1), torch.tensor([50.0])]),
    "the largest twice": torch.cat([torch.linspace(0, 1, SIDE - 2), torch.tensor([2.0, 2.0])]),
    "of rank three": torch.cat([torch.zeros(SIDE - 3), torch.tensor([-3.0, 1.0, 2.0])]),
    "close to each other": torch.cat([torch.linspace(0, 1, SIDE - 1), torch.tensor([1.001])]),
    "almost the same size above and below": torch.linspace(-1, 1, SIDE) + 1e-3,
    "a multiple of one": torch.full((SIDE,), -4.0),
}


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_known_spectra(values):
    wanted = float(values.double()[values.double().abs().argmax()])
    one = found(matrix(values))
    assert one.converged
    assert one.value == pytest.approx(wanted, rel=1e-9)


def test_a_small_space_ends_by_itself():
    one = found(matrix(torch.tensor([1.0, -5.0, 2.0])), tolerance=1e-30)
    assert one.value == pytest.approx(-5.0, rel=1e-14)
    assert one.products == 3
    same = found(matrix(SPECTRA["of rank three"]), tolerance=1e-30)
    assert same.products <= 4 + 1
    assert same.converged


def test_it_agrees_with_arpack_at_about_its_price():
    of, calls = matrix(SPECTRA["spread"]), []

    def product(v):
        calls.append(1)
        return of.numpy() @ v

    operator: Any = LinearOperator(tuple(of.shape), matvec=product, dtype=np.float64)
    theirs = eigsh(operator, k=1, which="LM", ncv=HELD, tol=1e-8, v0=of.numpy()[0])[0][0]
    ours = found(of)
    assert ours.value == pytest.approx(float(theirs), rel=1e-9)
    assert ours.products < 1.5 * len(calls)
