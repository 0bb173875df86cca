"""EK-FAC: where theory says that it is exact, and what it is exactly everywhere.

The random outputs are signs along eigenvectors. Dealt out in turn instead, each pattern of C signs
once for each row, their mean is their expectation, and what holds in expectation holds exactly.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    Tied,
    at,
    batchnorm64,
    mlp64,
    ridge,
    softmax_linear,
    tiny64,
)
from expunge.curvature.ekfac import Ekfac, ekfac, random_outputs
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product, output_curvature
from expunge.rng import Draws, seeded

ROWS = torch.arange(0, 60, 2)
PATTERNS = 2**CLASSES
DEALT = ROWS.repeat_interleave(PATTERNS)  # every row with every pattern


@dataclass(frozen=True)
class Signs:
    """In the place of draws: patterns of signs dealt out in turn, from a first one on."""

    first: int = 0

    def at(self, *where: Any) -> "Signs":
        return self

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        rows, outputs = shape
        codes = self.first + torch.arange(rows)[:, None]
        return codes.bitwise_right_shift(torch.arange(outputs)) % 2


@dataclass(frozen=True)
class Whole:
    """In the place of draws: one number spells the signs of all rows of a batch."""

    code: int

    def at(self, *where: Any) -> "Whole":
        return self

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        places = torch.arange(shape[0] * shape[1]).reshape(shape)
        return torch.tensor(self.code).bitwise_right_shift(places) % 2


def point(build=mlp64) -> Point:
    problem = tiny64(build)
    with seeded(0):
        module = build()
    return Point(problem.task, problem.train, module)


def dense(here: Point, rows: Tensor = ROWS) -> Tensor:
    """The Gauss-Newton matrix, column by column."""
    columns = []
    for unit in torch.eye(here.size, dtype=torch.float64):
        columns.append(flat(gauss_newton_product(here, rows, shaped(here, unit))))
    return torch.stack(columns, 1)


def shaped(here: Point, vector: Tensor) -> dict[str, Tensor]:
    parts = vector.split([w.numel() for w in here.weights.values()])
    return {n: p.view_as(w) for (n, w), p in zip(here.weights.items(), parts, strict=True)}


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([w.flatten() for w in weights.values()])


def solved(known: Ekfac, here: Point, damping: float) -> Tensor:
    """The damped inverse, column by column."""
    units = torch.eye(here.size, dtype=torch.float64)
    return torch.stack([flat(known.solve(shaped(here, u), damping)) for u in units], 1)


# ---- random outputs


def test_random_outputs_have_the_curvature_as_covariance():
    here = point()
    for batch in here.batches(DEALT):
        z = here.task.outputs(here.module, batch).detach()
        u = random_outputs(here, batch, z, Signs())  # type: ignore[arg-type]
        outer = (u[:, :, None] * u[:, None, :]).reshape(-1, PATTERNS, CLASSES, CLASSES).mean(1)
        p = z[::PATTERNS].softmax(1)
        by_hand = p.diag_embed() - p[:, :, None] * p[:, None, :]
        assert torch.allclose(outer, by_hand, atol=1e-12)
        assert u.reshape(-1, PATTERNS, CLASSES).mean(1).abs().max() < 1e-12


def test_drawn_signs_are_fair_and_of_each_row_by_itself():
    """4,096 draws of one row: each entry of the covariance within 5 sd, at most 5 / 64 * |u|^2."""
    here = point()
    (batch,) = here.batches(torch.zeros(256, dtype=torch.int64))
    z = here.task.outputs(here.module, batch).detach()
    u = torch.cat([random_outputs(here, batch, z, Draws((0, k))) for k in range(16)])
    curvature = output_curvature(here.task, batch, z)[0]
    largest = float(u.square().sum(1).max())
    assert (u.T @ u / 4096 - curvature).abs().max() < 5 / 64 * largest
    assert u.mean(0).abs().max() < 5 / 64 * largest**0.5


@dataclass(frozen=True)
class Told:
    """Draws that tell where they were asked."""

    places: list
    draws: Draws = Draws((0,))

    def at(self, *where: Any) -> Draws:
        self.places.append(where)
        return self.draws.at(*where)


def test_each_batch_has_its_own_signs_and_both_readings_the_same():
    """Of 300 rows there are two batches."""
    places: list = []
    ekfac(point(), torch.arange(60).repeat(5), Told(places))  # type: ignore[arg-type]
    assert len(places) == 4
    assert places[:2] == places[2:]
    assert places[0] != places[1]


# ---- exactness


def test_it_is_exact_for_ridge_regression():
    """One output of curvature 1: signs are squared away, and the matrix is x x^T on average."""
    problem = ridge()
    here = Point(problem.task, problem.train, at(torch.ones(FEATURES).double()).template)
    x = problem.train.inputs[ROWS]
    known = ekfac(here, ROWS, Draws((0,)))
    expected = torch.linalg.inv(x.T @ x / len(x) + 0.3 * torch.eye(FEATURES))
    assert torch.allclose(solved(known, here, 0.3), expected, atol=1e-12)


def test_it_is_exact_where_inputs_and_curvature_are_independent():
    """At zero all classes are as likely for each row: H is the same, the matrix is H (x) x x^T."""
    here = point(softmax_linear)
    with torch.no_grad():
        here.module.weight.zero_()
    known = ekfac(here, DEALT, Signs())  # type: ignore[arg-type]
    expected = torch.linalg.inv(dense(here) + 0.1 * torch.eye(here.size))
    assert torch.allclose(solved(known, here, 0.1), expected, atol=1e-10)


def conv() -> nn.Module:
    """Two places, whose gradients are summed before they are squared."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3)
    ).double()


@pytest.mark.parametrize("build", [softmax_linear, mlp64, conv])
def test_eigenvalues_are_the_diagonal_of_the_true_matrix_in_the_basis(build):
    """In expectation over random outputs, for every layer of any network."""
    here = point(build)
    known = ekfac(here, DEALT, Signs())  # type: ignore[arg-type]
    matrix = dense(here)
    for block in known.blocks:
        for o in range(len(block.outer)):
            for i in range(len(block.inner)):
                along = torch.outer(block.outer[:, o], block.inner[:, i])
                zero = {n: torch.zeros_like(w) for n, w in here.weights.items()}
                v = flat(zero | block.layer.apart(along, here.weights))
                assert block.scales[o, i] == pytest.approx(float(v @ matrix @ v), abs=1e-12)
    assert not known.diagonal


def test_the_basis_is_of_the_second_moments_of_inputs_and_slopes():
    here = point(softmax_linear)
    (block,) = ekfac(here, DEALT, Signs()).blocks  # type: ignore[arg-type]
    x, w = here.data.inputs[ROWS], here.weights["weight"]
    p = (x @ w.T).softmax(1)
    curvature = torch.einsum("bc,cd->bcd", p, torch.eye(CLASSES)) - p[:, :, None] * p[:, None, :]
    for basis, moment in ((block.inner, x.T @ x), (block.outer, curvature.mean(0))):
        turned = basis.T @ moment @ basis
        assert (turned - turned.diagonal().diag()).abs().max() < 1e-10
        assert torch.allclose(basis.T @ basis, torch.eye(len(basis)).double(), atol=1e-12)


def test_what_is_in_no_layer_gets_the_diagonal():
    """Batch norm: the mean over all 64 patterns of signs of two rows is the true diagonal."""
    here, rows = point(batchnorm64), torch.tensor([3, 8])
    runs = [ekfac(here, rows, Whole(code)).diagonal for code in range(64)]  # type: ignore[arg-type]
    assert set(runs[0]) == {"1.weight", "1.bias"}
    true = shaped(here, dense(here, rows).diagonal())
    for name in runs[0]:
        mean = torch.stack([run[name] for run in runs]).mean(0)
        assert torch.allclose(mean, true[name], atol=1e-12)
        assert mean.max() > 0


def test_tied_layers_get_the_diagonal_and_unused_ones_nothing():
    def build():
        module = Tied().double()
        module.spare = nn.Linear(2, 2).double()
        return module

    here = point(build)
    known = ekfac(here, ROWS, Draws((0,)))
    assert [block.layer.name for block in known.blocks] == ["head"]
    assert set(known.diagonal) == set(here.weights) - {"head.weight", "head.bias"}
    assert known.diagonal["first.weight"].max() > 0
    assert (known.diagonal["spare.weight"] == 0).all()
    found = known.solve(here.weights, 0.5)
    assert torch.allclose(found["spare.weight"], here.weights["spare.weight"] / 0.5)


def test_the_size_of_batches_and_pieces_changes_nothing(monkeypatch):
    here = point()
    before = ekfac(here, ROWS, Draws((0,)))
    monkeypatch.setattr("expunge.curvature.ekfac.NUMBERS", 100)  # one row at a time
    after = ekfac(here, ROWS, Draws((0,)))
    for a, b in zip(before.blocks, after.blocks, strict=True):
        assert torch.allclose(a.scales, b.scales, atol=1e-14)
    known = ekfac(here, DEALT, Signs())  # type: ignore[arg-type]
    monkeypatch.setattr(Point.batches, "__defaults__", (8,))  # patterns still in step
    again = ekfac(here, DEALT, Signs())  # type: ignore[arg-type]
    assert torch.allclose(solved(known, here, 0.1), solved(again, here, 0.1), atol=1e-9)
