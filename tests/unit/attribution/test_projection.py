"""The projection: its matrix written out, unbiased products, and the same bits everywhere."""

import math

import pytest
import torch

from expunge.attribution.projection import Projection
from expunge.contract.problems import generator
from expunge.rng import Draws


def drawn(weights: int, dimension: int, seed: int = 0) -> Projection:
    return Projection.draw(weights, dimension, Draws((seed, "test")))


def matrix(projection: Projection) -> torch.Tensor:
    """P as a dense (weights, k) matrix, entry by entry."""
    p = torch.zeros(projection.weights, projection.dimension, dtype=torch.float64)
    pairs = zip(projection.order.tolist(), projection.signs.tolist(), strict=True)
    for place, (weight, sign) in enumerate(pairs):
        p[weight, place % projection.dimension] += sign
    return p


@pytest.mark.parametrize(("weights", "dimension"), [(7, 3), (12, 4), (50, 49), (31, 1)])
def test_down_and_up_are_the_matrix_and_its_transpose(weights, dimension):
    projection = drawn(weights, dimension)
    p = matrix(projection)
    vectors = torch.randn(5, weights, generator=generator(0), dtype=torch.float64)
    few = torch.randn(dimension, generator=generator(1), dtype=torch.float64)
    assert torch.allclose(projection.down(vectors), vectors @ p, atol=1e-12)
    assert torch.allclose(projection.up(few), p @ few, atol=1e-12)


@pytest.mark.parametrize(("weights", "dimension"), [(7, 3), (12, 4), (50, 49), (31, 1)])
def test_every_weight_is_in_one_feature_and_features_are_even(weights, dimension):
    p = matrix(drawn(weights, dimension))
    assert torch.equal(p.abs().sum(1), torch.ones(weights, dtype=p.dtype))
    assert p.abs().sum(0).max() <= math.ceil(weights / dimension)


@pytest.mark.parametrize("dimension", [20, 21, 5000])
def test_with_as_many_features_as_weights_nothing_is_projected(dimension):
    projection = drawn(20, dimension)
    vectors = torch.randn(3, 20, generator=generator(0))
    assert projection.dimension == 20
    assert torch.equal(projection.down(vectors), vectors)
    assert torch.equal(projection.up(vectors[0]), vectors[0])


@pytest.mark.parametrize("period", [1, 8])
def test_products_are_unbiased_and_vary_no_more_than_with_a_dense_matrix(period):
    """2,000 draws of k = 8: |mean - a.b| <= 5 sd / sqrt(2000) with the dense matrix's sd.

    sd = sqrt((|a|^2 |b|^2 + (a.b)^2) / 8), so an error of 6 % in the scale is seen. False alarm
    6e-7; the variance itself has 5 % of error and may be 25 % too large. All numbers are positive,
    so that signs matter, and perhaps only every eighth is not zero, so that places do.
    """
    a = torch.randn(80, generator=generator(0), dtype=torch.float64).abs()
    b = a + 0.3 * torch.randn(80, generator=generator(1), dtype=torch.float64).abs()
    both = torch.stack([a, b]) * (torch.arange(80) % period == 0)
    found = []
    for seed in range(2000):
        x, y = drawn(80, 8, seed).down(both)
        found.append(float(x @ y))
    gram, products = both @ both.T, torch.tensor(found, dtype=torch.float64)
    truth, variance = float(gram[0, 1]), float(gram[0, 0] * gram[1, 1] + gram[0, 1] ** 2) / 8
    limit = 5 * math.sqrt(variance / 2000)
    assert abs(float(products.mean()) - truth) < limit < 0.06 * truth
    assert 0.3 * variance < float(products.var()) < 1.25 * variance


def test_a_draw_depends_on_the_seed_alone():
    first, again, other = drawn(60, 7), drawn(60, 7), drawn(60, 7, seed=1)
    assert torch.equal(first.order, again.order)
    assert torch.equal(first.signs, again.signs)
    assert not torch.equal(first.order, other.order)
    assert not torch.equal(first.signs, other.signs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_projects_as_a_cpu_does():
    vectors = torch.randn(3, 60, generator=generator(0), dtype=torch.float64)
    here, there = drawn(60, 7), Projection.draw(60, 7, Draws((0, "test")), "cuda")
    assert torch.allclose(there.down(vectors.cuda()).cpu(), here.down(vectors), atol=1e-12)
    assert torch.allclose(there.up(vectors[0, :7].cuda()).cpu(), here.up(vectors[0, :7]))
