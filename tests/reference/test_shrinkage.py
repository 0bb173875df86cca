"""How far half-data models are trusted: the docstring of `datamodels` in plain numbers."""

import math

import pytest
import torch

from expunge.attribution.shrinkage import (
    FORGOTTEN,
    LEAST,
    MOST,
    Shrinkage,
    shrinkage_factor,
    size_of,
)
from expunge.attribution.split_half import Estimates
from expunge.contract.problems import generator

ROWS, CLASSES = 5, 2


def estimates(seed: int, shuffles: int, scale: float) -> tuple[Estimates, torch.Tensor]:
    """Halves that agree in part, chance of some scale, and a source that is in part right."""
    g = generator(seed)

    def draw(*shape):
        return torch.randn(*shape, ROWS, CLASSES, generator=g, dtype=torch.float64)

    signal, error = draw(), 0.7 * draw(2)
    chance = scale * draw(shuffles, 3)
    return Estimates(signal, signal + error, chance), 0.6 * signal + 0.5 * draw()


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))


def naive(found: Estimates, half: torch.Tensor) -> tuple[float, float]:
    """K, and as far as chance allows."""
    first, second = (part - half for part in found.halves)
    both, dealt = inner((first + second) / 2, (first + second) / 2), len(found.chance)
    chance = sum(inner(one[1], one[2]) ** 2 for one in found.chance)
    chance = math.sqrt(chance / dealt) if dealt else 0.0
    low, high = ((inner(first, second) + by) / both for by in (-chance, chance))
    return min(1.0, max(0.0, low)), min(1.0, max(0.0, high))


@pytest.mark.parametrize("shuffles", [0, 1, 7])
@pytest.mark.parametrize("scale", [0.1, 0.4, 3.0])
def test_k_is_the_docstring(shuffles, scale):
    seen = set()
    for seed in range(12):
        found, half = estimates(seed, shuffles, scale)
        k, most = naive(found, half)
        assert shrinkage_factor(found, half, 0.6) == pytest.approx(
            Shrinkage(k, 0.6, most), abs=1e-12
        )
        seen.add(0 < k < most < 1)
    assert any(seen) or scale == 3.0 or not shuffles


def test_r_is_how_far_the_source_says_that_effects_shrink():
    half = torch.tensor([[3.0, 4.0]]).double()
    assert size_of(0.7 * half, half) == pytest.approx(0.7)
    assert size_of(torch.tensor([[3.0, 1.5]]).double(), half) == pytest.approx(15 / 25)
    assert size_of(0.1 * half, half) == LEAST
    assert size_of(2.0 * half, half) == MOST
    assert size_of(half, torch.zeros_like(half)) == FORGOTTEN
