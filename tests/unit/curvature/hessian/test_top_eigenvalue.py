"""The largest eigenvalue of the Hessian, against dense Hessians."""

from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.problems import (
    batchnorm64,
    generator,
    logistic,
    mlp64,
    ridge,
    softmax_linear,
)
from expunge.curvature.point import Point
from expunge.curvature.spectrum import hessian_product, top_eigenvalue
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.problem.sd_penalty import SDPenalty
from expunge.rng import Draws, seeded

from .dense import DRAWS, MODELS, ROWS, dense, largest, penalised, point, random_vector


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("score", [None, penalised], ids=["loss", "with penalty"])
def test_the_largest_eigenvalue_is_that_of_the_dense_hessian(build, score):
    here = point(build)
    found = top_eigenvalue(here, ROWS, draws=DRAWS, score=score, tolerance=1e-8, most=2000)
    assert found.converged
    assert found.value == pytest.approx(largest(dense(here, score=score)), rel=1e-6)


def cap(z, batch):
    """Concave in the outputs, so that the most negative eigenvalue is the largest in size."""
    return -0.5 * z.square().sum(-1)


def test_an_eigenvalue_below_zero_keeps_its_sign():
    here = point(mlp64)
    matrix = dense(here, score=cap)
    assert largest(matrix) < 0 < float(torch.linalg.eigvalsh(matrix).max())
    found = top_eigenvalue(here, ROWS, draws=DRAWS, score=cap, tolerance=1e-8, most=2000)
    assert found.value == pytest.approx(largest(matrix), rel=1e-6)


def test_l2_shifts_it_and_may_turn_it_around():
    here = point(mlp64)
    values = torch.linalg.eigvalsh(dense(here, score=cap))
    for l2 in (0.1, 1e3):
        found = top_eigenvalue(here, ROWS, draws=DRAWS, score=cap, l2=l2, tolerance=1e-8, most=5000)
        wanted = float((values + l2)[(values + l2).abs().argmax()])
        assert found.value == pytest.approx(wanted, rel=1e-6)
    assert found.value > 0


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_the_residual_is_true_and_within_the_tolerance(tolerance):
    here = point(mlp64)
    values = torch.linalg.eigvalsh(dense(here))
    found = top_eigenvalue(here, ROWS, draws=DRAWS, tolerance=tolerance)
    assert found.converged
    assert found.residual <= tolerance * abs(found.value)
    assert float((values - found.value).abs().min()) <= found.residual + 1e-12


def test_looser_is_cheaper_and_every_product_is_counted(monkeypatch):
    here, calls = point(mlp64), []

    def counted(*args, **kwargs):
        calls.append(1)
        return hessian_product(*args, **kwargs)

    monkeypatch.setattr("expunge.curvature.spectrum.hessian_product", counted)
    spent = []
    for tolerance in (1e-1, 1e-4, 1e-8):
        calls.clear()
        found = top_eigenvalue(here, ROWS, draws=DRAWS, tolerance=tolerance, most=2000)
        assert found.products == len(calls)
        spent.append(found.products)
    assert spent == sorted(set(spent))
    assert spent[2] > 10  # it restarted


@pytest.mark.parametrize("most", [1, 3, 9, 12])
def test_what_has_not_converged_is_the_best_so_far_and_says_so(most):
    here = point(mlp64)
    found = top_eigenvalue(here, ROWS, draws=DRAWS, tolerance=1e-12, most=most)
    assert not found.converged
    assert found.products == most
    values = torch.linalg.eigvalsh(dense(here))
    assert abs(found.value) <= float(values.abs().max()) * (1 + 1e-12)
    assert float((values - found.value).abs().min()) <= found.residual
    assert found.residual > 1e-12 * abs(found.value)


def test_more_products_never_find_a_smaller_one():
    here = point(mlp64)
    found = [
        abs(top_eigenvalue(here, ROWS, draws=DRAWS, tolerance=1e-12, most=n).value)
        for n in range(1, 30)
    ]
    assert all(b >= a * (1 - 1e-12) for a, b in zip(found, found[1:], strict=False))


@pytest.mark.parametrize("weights", [1, 2, 3, 11])
def test_tiny_models(weights):
    g = generator(0)
    x = torch.randn(30, weights, generator=g, dtype=torch.float64)
    data = TensorData(x, torch.randn(30, generator=g, dtype=torch.float64))
    with seeded(0):
        here = Point(ridge().task, data, nn.Linear(weights, 1, bias=False).double())
    found = top_eigenvalue(here, torch.arange(30), draws=DRAWS, tolerance=1e-8)
    assert found.converged
    assert found.products <= 2 * weights + 10
    assert found.value == pytest.approx(largest(x.T @ x / 30), rel=1e-9)


def test_a_hessian_of_zeros():
    here = point(softmax_linear)
    found = top_eigenvalue(here, ROWS, draws=DRAWS, score=SDPenalty(0.0))
    assert (found.value, found.residual, found.products, found.converged) == (0.0, 0.0, 1, True)


def test_the_same_draws_give_the_same_bits_and_others_the_same_value():
    here = point(mlp64)
    ask = partial(top_eigenvalue, here, ROWS, tolerance=1e-8, most=2000)
    first = ask(draws=DRAWS)
    assert ask(draws=DRAWS) == first
    other = ask(draws=Draws((1, "test")))
    assert other != first
    assert other.value == pytest.approx(first.value, rel=1e-8)
    assert ask(draws=DRAWS.of([3])) == first  # one vector, whoever asks


def test_it_is_that_of_the_rows_asked_for():
    problem = logistic()
    with seeded(0):
        here = Point(problem.task, problem.train, softmax_linear())
    few = torch.tensor([3, 9])
    found = top_eigenvalue(here, few, draws=DRAWS, tolerance=1e-8)
    assert found.value == pytest.approx(largest(dense(here, few)), rel=1e-6)
    assert found.value != pytest.approx(largest(dense(here)), rel=0.01)


def test_nothing_is_changed():
    here = point(batchnorm64)
    here.module.train()
    here.module[1].eval()
    modes = [part.training for part in here.module.modules()]
    before = {n: t.clone() for n, t in here.module.state_dict().items()}
    v = random_vector(here)
    kept = {n: w.clone() for n, w in v.items()}
    flags = [torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()]
    enabled = torch.backends.cudnn.enabled
    hessian_product(here, ROWS, v)
    top_eigenvalue(here, ROWS, draws=DRAWS)
    assert [part.training for part in here.module.modules()] == modes
    assert all(torch.equal(t, before[n]) for n, t in here.module.state_dict().items())
    assert all(torch.equal(w, kept[n]) for n, w in v.items())
    assert all(p.grad is None for p in here.module.parameters())
    assert torch.backends.cudnn.enabled == enabled
    assert flags == [
        torch.backends.cuda.math_sdp_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
    ]


# ---- what is refused


def test_what_cannot_be_asked():
    here = point(mlp64)
    ask = partial(top_eigenvalue, here, draws=DRAWS)
    with pytest.raises(BadInput, match="the Hessian over 0 rows"):
        ask(ROWS[:0])
    for tolerance in (0.0, 1.0, float("nan")):
        with pytest.raises(BadInput, match=f"tolerance={tolerance}"):
            ask(ROWS, tolerance=tolerance)
    with pytest.raises(BadInput, match="most=0"):
        ask(ROWS, most=0)
    with pytest.raises(BadInput, match=r"a vector of shapes .*'0.bias': \(9,\)"):
        hessian_product(here, ROWS, {**here.weights, "0.bias": torch.zeros(9)})
    frozen = point(mlp64)
    frozen.module.requires_grad_(False)
    with pytest.raises(BadInput, match="in 0 weights"):
        top_eigenvalue(frozen, ROWS, draws=DRAWS)


def test_second_derivatives_that_are_not_finite():
    here = point(softmax_linear)
    with pytest.raises(BadInput, match=r"a product of the Hessian has 18 numbers that are NaN"):
        # the root of 0 has no derivative; the SD penalty takes care of that
        top_eigenvalue(here, ROWS, draws=DRAWS, score=lambda z, b: (z - z).square().sum(-1).sqrt())
    here = point(softmax_linear)
    here.data.inputs[5] = float("nan")
    with pytest.raises(BadInput, match="rows that are read hold NaN or infinity, first row 5"):
        top_eigenvalue(here, ROWS, draws=DRAWS)
    apart = torch.cat([ROWS[:5], ROWS[6:]])
    assert top_eigenvalue(here, apart, draws=DRAWS).converged
