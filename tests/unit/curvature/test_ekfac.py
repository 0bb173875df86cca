"""EK-FAC: where theory says that it is exact, and what it is exactly everywhere.

The random outputs are made of signs. Dealt out in turn instead, each pattern of C signs once for
each row, their mean is their expectation, and what holds in expectation holds exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from expunge.curvature.ekfac import Ekfac, ekfac
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.rng import Draws, seeded

ROWS = torch.arange(0, 60, 2)
PATTERNS = 2**CLASSES
DEALT = ROWS.repeat_interleave(PATTERNS)  # every row with every pattern


@dataclass(frozen=True)
class Signs:
    """In the place of draws: patterns of signs dealt out in turn to the places of rows."""

    members: Sequence[int] = ()

    def at(self, *where: Any) -> "Signs":
        return self

    def of(self, members: Sequence[int]) -> "Signs":
        return replace(self, members=members)

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        codes = torch.tensor(self.members)[:, None]
        return codes.bitwise_right_shift(torch.arange(*shape)) % 2


@dataclass(frozen=True)
class Whole(Signs):
    """In the place of draws: one number spells the signs of all rows of a batch."""

    code: int = 0

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        places = torch.arange(len(self.members) * CLASSES).reshape(-1, CLASSES)
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


# ---- random signs


@dataclass(frozen=True)
class Told:
    """Draws that tell where they were asked, and what they gave."""

    told: list
    draws: Draws = Draws((0,))

    def at(self, *where: Any) -> "Told":
        return replace(self, draws=self.draws.at(*where))

    def of(self, members: Sequence[int]) -> "Told":
        return replace(self, draws=self.draws.of(members))

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        found = self.draws.integers(high, shape)
        self.told.append((self.draws.members, found))
        return found


def test_each_row_has_its_own_signs_and_both_readings_the_same():
    """Of 300 rows there are two batches, of 256 and of 44."""
    told: list = []
    ekfac(point(), torch.arange(60).repeat(5), Told(told))  # type: ignore[arg-type]
    places, coins = zip(*told, strict=True)
    first, second = tuple(range(256)), tuple(range(256, 300))
    assert places == (first, second, first, second)
    assert torch.equal(torch.cat(coins[:2]), torch.cat(coins[2:]))
    assert coins[0].shape == (256, CLASSES)
    assert 0.4 < torch.cat(coins[:2]).double().mean() < 0.6
    assert len(coins[0].unique(dim=0)) == PATTERNS


def test_a_rows_signs_depend_on_its_place_alone(monkeypatch):
    """Whatever the size of batches."""
    whole, parts = [], []
    ekfac(point(), ROWS, Told(whole))  # type: ignore[arg-type]
    monkeypatch.setattr("expunge.curvature.slopes.SIZE", 7)
    ekfac(point(), ROWS, Told(parts))  # type: ignore[arg-type]
    assert len(parts) == 10
    assert torch.equal(whole[0][1], torch.cat([coins for _, coins in parts[:5]]))


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
    runs = [ekfac(here, rows, Whole(code=code)).diagonal for code in range(64)]  # type: ignore[arg-type]
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
