"""EK-FAC's bases: sides that are too wide for eigenvectors, and moments that are hard."""

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import CLASSES, batchnorm64, generator, mlp64, tiny64
from expunge.curvature.bases import WIDE, eigenvectors
from expunge.curvature.ekfac import ekfac
from expunge.curvature.point import Point
from expunge.curvature.products import output_root
from expunge.curvature.slopes import Slopes
from expunge.errors import BadInput
from expunge.rng import Draws, seeded

ROWS = torch.arange(0, 60, 2)
DRAWS = Draws((0,))
LIMIT = "expunge.curvature.bases.WIDE"


def conv() -> nn.Module:
    """Two places of one channel, and three outputs."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3)
    ).double()


def point(build=mlp64) -> Point:
    problem = tiny64(build)
    with seeded(0):
        net = build()
    return Point(problem.task, problem.train, net)


# ---- wide sides


def turned(block, vector: dict[str, Tensor]) -> Tensor:
    """A vector's part in a block along its bases, None being the unit vectors."""
    matrix = block.layer.matrix(vector)
    outer, inner = (
        torch.eye(size, dtype=matrix.dtype) if basis is None else basis
        for size, basis in zip(matrix.shape, (block.outer, block.inner), strict=True)
    )
    return outer.T @ matrix @ inner


def hidden(here: Point) -> tuple[Tensor, Tensor]:
    """What the last layer takes in, with its 1, and the random outputs of the draws."""
    x = here.data.inputs[ROWS]
    h = torch.cat([here.module[:2](x), torch.ones(len(x), 1)], 1).detach()
    slopes = Slopes.of(here, ROWS, DRAWS)
    ((calls, _),) = slopes.batches([])
    return h, calls[-1][0][1]


def test_a_wide_input_side_keeps_its_own_coordinates(monkeypatch):
    """The last layer has 9 inputs, the first 7: eigenvalues are mean (Q^T u)^2 h^2, by hand."""
    monkeypatch.setattr(LIMIT, 8)
    here = point()
    first, last = ekfac(here, ROWS, DRAWS).blocks
    assert first.inner is not None
    assert first.outer is not None  # 8 is not above the limit
    assert last.inner is None
    h, u = hidden(here)
    assert torch.allclose(last.scales, (u @ last.outer).square().T @ h.square() / len(ROWS))
    moment = last.outer.T @ u.T @ u @ last.outer
    assert (moment - moment.diagonal().diag()).abs().max() < 1e-10


def test_a_wide_output_side_keeps_its_own_coordinates(monkeypatch):
    monkeypatch.setattr(LIMIT, 7)
    first = ekfac(point(), ROWS, DRAWS).blocks[0]
    assert first.inner is not None
    assert first.outer is None
    here = point()
    ((calls, _),) = Slopes.of(here, ROWS, DRAWS).batches([])
    given, slope, _ = calls[0][0]
    x = torch.cat([given, torch.ones(len(given), 1)], 1)
    by_hand = slope.square().T @ (x @ first.inner).square() / len(ROWS)
    assert torch.allclose(first.scales, by_hand)


@pytest.mark.parametrize("build", [mlp64, conv])
def test_with_both_sides_wide_it_is_the_diagonal(monkeypatch, build):
    """By the rows' gradients: the mean square of each weight's."""
    monkeypatch.setattr(LIMIT, 1)
    here = point(build)
    known = ekfac(here, ROWS, DRAWS)
    by_name = {n: torch.zeros_like(w) for n, w in here.weights.items()}
    signs = 2.0 * DRAWS.at("outputs").of(range(len(ROWS))).integers(2, (CLASSES,)) - 1.0
    for row, own in zip(ROWS, signs.double(), strict=True):
        for n, g in gradient(here, row[None], own[None]).items():
            by_name[n] += g.square() / len(ROWS)
    assert [block.layer.parameters for block in known.blocks]
    found = known.solve({n: torch.ones_like(w) for n, w in here.weights.items()}, 0.5)
    for n, value in by_name.items():
        assert torch.allclose(found[n], 1 / (value + 0.5), atol=1e-12)


def gradient(here: Point, rows: Tensor, signs: Tensor) -> dict[str, Tensor]:
    (batch,) = here.batches(rows)
    leaves = dict(here.module.named_parameters())
    z = here.task.outputs(here.module, batch)
    u = output_root(here.task, batch, z.detach(), signs)
    return dict(zip(leaves, torch.autograd.grad((z * u).sum(), list(leaves.values())), strict=True))


@pytest.mark.parametrize("wide", [1, 3, 7, 8, 20])
@pytest.mark.parametrize("build", [mlp64, batchnorm64, conv])
def test_solve_is_the_inverse_whichever_sides_are_wide(monkeypatch, build, wide):
    monkeypatch.setattr(LIMIT, wide)
    here = point(build)
    known = ekfac(here, ROWS, DRAWS)
    with seeded(2):
        vector = {n: torch.randn_like(w) for n, w in here.weights.items()}
    found = known.solve(vector, 0.01)
    for block in known.blocks:
        product = (block.scales + 0.01) * turned(block, found)
        assert torch.allclose(product, turned(block, vector), atol=1e-10)
    for n, value in known.diagonal.items():
        assert torch.allclose(found[n] * (value + 0.01), vector[n], atol=1e-12)


def test_the_widest_convolutions_of_resnets_have_eigenvectors():
    assert 9 * 512 + 1 <= WIDE < 50_000


# ---- eigenvectors


def singular(size: int) -> dict[str, Tensor]:
    """Second moments that have few directions, or sizes far apart."""
    x = torch.randn(5, size, generator=generator(0))
    dead = torch.randn(50, size, generator=generator(1)).relu()
    dead[:, size // 3 :] = 0
    graded = x * torch.logspace(-15, 15, size)
    return {
        "zero": torch.zeros(size, size),
        "rank one": torch.ones(size, size),
        "huge": 1e36 * torch.ones(size, size),
        "tiny": 1e-42 * torch.ones(size, size),
        "few rows": x.T @ x,
        "dead units": dead.T @ dead,
        "sizes far apart": graded.T @ graded,
        "repeated": torch.block_diag(*[torch.ones(2, 2)] * (size // 2)),
    }


@pytest.mark.parametrize("kind", singular(2))
@pytest.mark.parametrize("size", [2, 30, 300])
def test_singular_moments_in_float32_have_an_orthogonal_basis(size, kind):
    moment = singular(size)[kind]
    basis = eigenvectors(moment, "x")
    assert basis.dtype == torch.float32
    assert (basis.T @ basis - torch.eye(size)).abs().max() < 1e-5
    along = basis.double().T @ moment.double() @ basis.double()
    largest = float(along.abs().max())
    assert along.fill_diagonal_(0.0).abs().max() <= 1e-5 * largest


def test_where_float32_does_not_converge_float64_is_used(monkeypatch):
    plain = torch.linalg.eigh

    def stubborn(matrix):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return plain(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", stubborn)
    moment = singular(30)["few rows"]
    basis = eigenvectors(moment, "x")
    assert basis.dtype == torch.float32
    assert (basis.T @ basis - torch.eye(30)).abs().max() < 1e-6


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_layer_that_is_not_finite_is_named(wrong):
    """The bias of the hidden layer; large moments would else give eigenvectors without a word."""
    here = point()
    with torch.no_grad():
        here.module[2].weight[0, 0] = wrong
    with pytest.raises(BadInput, match="layer '0'.*not a number"):
        ekfac(here, ROWS, DRAWS)
