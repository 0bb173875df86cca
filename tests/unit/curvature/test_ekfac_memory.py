"""EK-FAC of large models: what is held at a time, and that it changes nothing."""

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import CLASSES, generator, mlp64, tiny64
from expunge.curvature.ekfac import Ekfac, ekfac
from expunge.curvature.layers import Layer, layers
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.curvature.slopes import Call, Slopes, pieces
from expunge.data import TensorData
from expunge.problem import Classification
from expunge.rng import Draws, seeded

ROWS = torch.arange(0, 60, 2)
DRAWS = Draws((0,))


def point(build=mlp64) -> Point:
    problem = tiny64(build)
    with seeded(0):
        net = build()
    return Point(problem.task, problem.train, net)


class Pictures(nn.Module):
    """Two convolutions, the second called twice, and a head: no weight is outside of layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 2)
        self.head = nn.Linear(3 * 4 * 3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.head(torch.tanh(self.second(x)).flatten(1))


def pictures() -> Point:
    x = torch.randn(60, 2, 6, 5, generator=generator(0), dtype=torch.float64)
    y = torch.randint(CLASSES, (60,), generator=generator(1))
    with seeded(0):
        return Point(Classification(CLASSES), TensorData(x, y), Pictures().double())


def same(a: Ekfac, b: Ekfac, here: Point) -> bool:
    """Whether both solve a system alike; eigenvectors may differ in sign."""
    v = {n: torch.randn_like(w) for n, w in here.weights.items()}
    found = [known.solve(v, 0.1) for known in (a, b)]
    return all(torch.allclose(found[0][n], found[1][n], rtol=1e-9, atol=1e-12) for n in v)


# ---- what is held


@pytest.mark.parametrize("held", [1, 1500, 4000])
@pytest.mark.parametrize("build", [point, pictures])
def test_how_many_numbers_are_held_changes_nothing(monkeypatch, build, held):
    here = build()
    whole = ekfac(here, ROWS, DRAWS)
    monkeypatch.setattr("expunge.curvature.slopes.NUMBERS", held)
    with seeded(3):
        assert same(whole, ekfac(here, ROWS, DRAWS), here)


@pytest.mark.parametrize("size", [1, 7, 15])
def test_the_size_of_batches_changes_nothing(monkeypatch, size):
    here = pictures()
    whole = ekfac(here, ROWS, DRAWS)
    monkeypatch.setattr("expunge.curvature.slopes.SIZE", size)
    with seeded(3):
        assert same(whole, ekfac(here, ROWS, DRAWS), here)


@pytest.mark.parametrize("held", [900, 2100, 5000])
def test_pieces_are_all_rows_in_their_order_and_never_too_many_at_once(monkeypatch, held):
    """Pieces with as much again when turned, and the gradients of their rows."""
    here = pictures()
    layer = layers(here.module)[1]  # called twice: on 5 x 4 and on 4 x 3 places
    x, y = (torch.randn(60, 3, *size, generator=generator(2)) for size in ((6, 5), (5, 4)))
    calls = [Call(x, y), Call(x[:, :, 1:, 1:], y[:, :, 1:, 1:])]
    whole = [
        torch.cat([layer.inputs(call.given) for call in calls], 1),
        torch.cat([layer.outputs(call.slope) for call in calls], 1),
    ]
    monkeypatch.setattr("expunge.curvature.slopes.NUMBERS", held)
    found = list(pieces(layer, calls))
    assert whole[0].shape == (60, 32, 13)
    assert len(found) > 1
    for k in (0, 1):
        assert torch.equal(torch.cat([pair[k] for pair in found]), whole[k])
    sizes = [len(a) * (2 * 32 * (13 + 3) + 13 * 3) for a, _ in found]
    assert max(sizes) <= max(held, 2 * 32 * 16 + 39)
    if held == 5000:
        assert len(found[0][0]) == 4  # 1,063 numbers a row: not fewer rows than there may be


def test_layers_are_unfolded_one_at_a_time_by_pieces(monkeypatch):
    """No call of `inputs` makes more than is allowed, whatever the layer."""
    made = []
    plain = Layer.inputs

    def spied(self, x):
        made.append(plain(self, x).numel())
        return plain(self, x)

    monkeypatch.setattr(Layer, "inputs", spied)
    monkeypatch.setattr("expunge.curvature.slopes.NUMBERS", 4000)
    ekfac(pictures(), ROWS, DRAWS)
    assert 1000 < max(made) <= 2000


def test_a_batch_has_no_more_rows_than_may_be_recorded(monkeypatch):
    """A row: the inputs and outputs of the first convolution, of the second twice, of the head."""
    row = (60 + 90) + (90 + 60) + (60 + 36) + (36 + 3)
    here = pictures()
    for held, size in ((row - 1, 1), (row, 1), (5 * row, 5), (6 * row - 1, 5), (1 << 24, 256)):
        monkeypatch.setattr("expunge.curvature.slopes.NUMBERS", held)
        assert Slopes.of(here, ROWS, DRAWS).size == size
    monkeypatch.setattr("expunge.curvature.slopes.NUMBERS", 8 * row)
    slopes = Slopes.of(here, ROWS, DRAWS)
    assert [len(calls[0][0][0]) for calls, _ in slopes.batches([])] == [8, 8, 8, 6]


def test_no_graph_outlives_a_batch():
    """What was given and slopes are all that is kept, and need no gradient."""
    here = pictures()
    for calls, others in Slopes.of(here, ROWS, DRAWS).batches(["first.weight"]):
        assert not any(x.requires_grad for own in calls for call in own for x in call[:2])
        assert not others["first.weight"].requires_grad


def test_a_thousand_classes_form_no_matrix(monkeypatch):
    """Of the whole fit: the curvature (B, C, C) of cross-entropy is never asked for."""

    def refused(*_):
        raise AssertionError("formed")

    monkeypatch.setattr("expunge.curvature.products.output_curvature", refused)
    x = torch.randn(20, 4, generator=generator(0))
    with seeded(0):
        here = Point(Classification(1000), TensorData(x, torch.arange(20)), nn.Linear(4, 1000))
    (block,) = ekfac(here, torch.arange(20), DRAWS).blocks
    assert block.scales.shape == (1000, 5)
    assert block.scales.isfinite().all()
    known = gauss_newton_product(here, torch.arange(20), here.weights)
    assert known["weight"].isfinite().all()
