"""Products of the Hessian and its largest eigenvalue, against dense Hessians."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    Recurrent,
    Tied,
    batchnorm64,
    generator,
    half_frozen,
    linear,
    logistic,
    mlp,
    mlp64,
    ridge,
    softmax_linear,
    tiny,
    tiny64,
)
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.curvature.spectrum import hessian_product, top_eigenvalue
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.penalty import SDPenalty
from expunge.rng import Draws, seeded
from expunge.task import Classification

ROWS = torch.arange(40)
DRAWS = Draws((0, "test"))


class Pictures(nn.Module):
    """Two convolutions, batch norm and pooling of 1 x 4 x 4."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.GELU(),
            nn.Conv2d(3, 2, 3),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2, CLASSES),
        )

    def forward(self, x):
        return self.net(x[:, :4].repeat(1, 4).reshape(-1, 1, 4, 4))


class Embedded(nn.Module):
    """A bag of embedded tokens, of the signs of the features."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(2 * FEATURES, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        tokens = torch.arange(FEATURES) + FEATURES * (x > 0).long()
        return self.head(torch.tanh(self.table(tokens)).mean(1))


class Attentive(nn.Module):
    """Self-attention over the features, by the fused kernels unless weights are asked for."""

    def __init__(self, weights: bool):
        super().__init__()
        self.lift, self.head = nn.Linear(1, 4), nn.Linear(4, CLASSES)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.weights = weights

    def forward(self, x):
        h = self.lift(x[..., None])
        return self.head(self.attention(h, h, h, need_weights=self.weights)[0].mean(1))


class Encoder(nn.Module):
    """A whole layer of a transformer."""

    def __init__(self):
        super().__init__()
        self.lift, self.head = nn.Linear(1, 4), nn.Linear(4, CLASSES)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        return self.head(self.layer(self.lift(x[..., None])).mean(1))


MODELS = {
    "perceptron": mlp,
    "batch norm": batchnorm64,
    "convolutions": Pictures,
    "lstm": Recurrent,
    "embedding": Embedded,
    "attention": partial(Attentive, False),
    "attention with weights": partial(Attentive, True),
    "transformer": Encoder,
    "tied": Tied,
    "half frozen": half_frozen,
}


def point(build, seed: int = 0, scale: float = 1.0) -> Point:
    problem = tiny64(build)
    with seeded(seed):
        module = build().double()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(scale)
    return Point(problem.task, problem.train, module)


def dense(here: Point, rows: Tensor = ROWS, score=None, l2: float = 0.0) -> Tensor:
    """The Hessian by differences of gradients' gradients, one weight at a time, in one batch."""
    (batch,) = here.data.batches([rows])
    names = list(here.weights)
    sizes = [here.weights[name].numel() for name in names]
    theta = torch.cat([here.weights[name].flatten() for name in names])

    def mean(theta: Tensor) -> Tensor:
        parts = theta.split(sizes)
        given = {n: p.view_as(here.weights[n]) for n, p in zip(names, parts, strict=True)}
        z = functional_call(here.module, given, batch.inputs)
        each = here.task.loss(z, batch) if score is None else score(z, batch)
        return each.mean() + 0.5 * l2 * theta.square().sum()

    training = here.module.training
    here.module.eval()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        found = torch.autograd.functional.hessian(mean, theta)
    here.module.train(training)
    return found


def largest(matrix: Tensor) -> float:
    values = torch.linalg.eigvalsh(matrix)
    return float(values[values.abs().argmax()])


def flat(weights) -> Tensor:
    return torch.cat([w.flatten() for w in weights.values()])


def random_vector(here: Point, seed: int = 3) -> dict[str, Tensor]:
    g = generator(seed)
    return {n: torch.randn(w.shape, generator=g, dtype=w.dtype) for n, w in here.weights.items()}


def penalised(outputs, batch):
    return Classification(CLASSES).loss(outputs, batch) + SDPenalty(2.0)(outputs, batch)


# ---- products


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


# ---- the largest eigenvalue


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
