"""Products of the Hessian, against dense Hessians."""

import pytest
import torch

from expunge.contract.problems import (
    FEATURES,
    batchnorm64,
    generator,
    linear,
    mlp,
    ridge,
    softmax_linear,
    tiny,
)
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.curvature.spectrum import hessian_product, top_eigenvalue
from expunge.problem.sd_penalty import SDPenalty
from expunge.rng import seeded

from .dense import DRAWS, MODELS, ROWS, dense, flat, largest, penalised, point, random_vector


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("score", [None, penalised], ids=["loss", "with penalty"])
def test_the_product_is_that_of_the_dense_hessian(build, score):
    here = point(build)
    v = random_vector(here)
    found = hessian_product(here, ROWS, v, score=score, l2=0.3)
    wanted = dense(here, score=score, l2=0.3) @ flat(v)
    torch.testing.assert_close(flat(found), wanted, rtol=1e-9, atol=1e-12)


def test_of_a_linear_model_it_is_the_gauss_newton_product():
    here = point(softmax_linear)
    v = random_vector(here)
    torch.testing.assert_close(
        flat(hessian_product(here, ROWS, v)), flat(gauss_newton_product(here, ROWS, v))
    )


def test_of_ridge_regression_it_is_the_second_moment_of_the_inputs():
    problem = ridge()
    with seeded(0):
        here = Point(problem.task, problem.train, linear())
    x = problem.train.inputs[ROWS]
    v = random_vector(here)
    wanted = (x.T @ x / 40 + 0.1 * torch.eye(FEATURES)) @ v["weight"][0]
    found = hessian_product(here, ROWS, v, l2=0.1)["weight"][0]
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_batches_of_any_size_and_rows_in_any_order_give_the_same(size):
    here = point(batchnorm64)
    v = random_vector(here)
    whole = flat(hessian_product(here, ROWS, v))
    order = torch.randperm(40, generator=generator(1))
    found = flat(hessian_product(here, ROWS[order], v, size=size))
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-15)


def test_a_score_without_curvature_has_the_product_zero():
    here = point(softmax_linear)
    v = random_vector(here)
    for score in (lambda z, batch: z.sum(-1), SDPenalty(0.0)):
        assert not flat(hessian_product(here, ROWS, v, score=score)).any()
        found = flat(hessian_product(here, ROWS, v, score=score, l2=2.0))
        assert torch.equal(found, 2 * flat(v))


def test_a_float32_model_has_float32_products():
    problem = tiny(mlp)
    with seeded(0):
        here = Point(problem.task, problem.train, mlp())
    found = hessian_product(here, ROWS, random_vector(here))
    assert {w.dtype for w in found.values()} == {torch.float32}
    exact = top_eigenvalue(here, ROWS, draws=DRAWS)
    twin = point(mlp)
    assert exact.converged
    assert exact.value == pytest.approx(largest(dense(twin)), rel=1e-4)
