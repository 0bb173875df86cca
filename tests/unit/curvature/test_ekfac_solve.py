"""EK-FAC: solve is the inverse of what it says, and fitting leaves the module as it was."""

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import CLASSES, FEATURES, batchnorm64, generator, mlp64, tiny64
from expunge.curvature.ekfac import ekfac
from expunge.curvature.point import Point
from expunge.data import TensorData
from expunge.problem import Classification
from expunge.rng import Draws, seeded

ROWS = torch.arange(0, 60, 2)


def point(build) -> Point:
    problem = tiny64(build)
    with seeded(0):
        module = build()
    return Point(problem.task, problem.train, module)


def shaped(here: Point, vector: Tensor) -> dict[str, Tensor]:
    parts = vector.split([w.numel() for w in here.weights.values()])
    return {n: p.view_as(w) for (n, w), p in zip(here.weights.items(), parts, strict=True)}


def images() -> Point:
    """A small convolution with batch norm on 60 pictures of 2 x 6 x 5."""

    def build():
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(27, CLASSES),
        ).double()

    x = torch.randn(60, 2, 6, 5, generator=generator(0), dtype=torch.float64)
    y = torch.randint(CLASSES, (60,), generator=generator(1))
    with seeded(0):
        return Point(Classification(CLASSES), TensorData(x, y), build())


@pytest.mark.parametrize("build", [lambda: point(mlp64), lambda: point(batchnorm64), images])
def test_solve_is_the_inverse_of_q_scales_q_transposed(build):
    here = build()
    known = ekfac(here, ROWS, Draws((0,)))
    vector = shaped(here, torch.randn(here.size, generator=generator(2), dtype=torch.float64))
    image = {n: value * vector[n] for n, value in known.diagonal.items()}
    for block in known.blocks:
        turned = block.outer.T @ block.layer.matrix(vector) @ block.inner
        image |= block.layer.apart(block.outer @ (block.scales * turned) @ block.inner.T, vector)
    damped = {n: image[n] + 0.01 * vector[n] for n in vector}
    found = known.solve(damped, 0.01)
    assert list(found) == list(here.weights)
    assert all(torch.allclose(found[n], vector[n], atol=1e-9) for n in vector)


def test_a_convolutions_basis_is_of_the_moments_of_all_its_places():
    """9 places a picture, each a patch of 18 numbers, cut out by hand."""
    here = images()
    first = ekfac(here, ROWS, Draws((0,))).blocks[0]
    x = nn.functional.pad(here.data.inputs[ROWS], (1, 1, 1, 1))
    moment = torch.zeros(18, 18, dtype=torch.float64)
    for i in range(0, 6, 2):
        for j in range(0, 5, 2):
            patch = x[:, :, i : i + 3, j : j + 3].flatten(1)
            moment += patch.T @ patch
    turned = first.inner.T @ moment @ first.inner
    assert (turned - turned.diagonal().diag()).abs().max() < 1e-9
    assert turned.diagonal().min() > 0


def test_solve_is_symmetric_and_positive():
    here = images()
    known = ekfac(here, ROWS, Draws((0,)))
    a, b = torch.randn(2, here.size, generator=generator(2), dtype=torch.float64)
    images_of = (known.solve(shaped(here, v), 1e-3) for v in (a, b))
    image_a, image_b = (torch.cat([w.flatten() for w in v.values()]) for v in images_of)
    assert float(a @ image_b) == pytest.approx(float(b @ image_a), rel=1e-10)
    assert a @ image_a > 0
    assert a @ image_a <= a @ a / 1e-3


# ---- manners


def test_a_relu_in_place_disturbs_nothing():
    def build(inplace: bool):
        return nn.Sequential(
            nn.Linear(FEATURES, 8), nn.ReLU(inplace=inplace), nn.Linear(8, CLASSES)
        ).double()

    plain, inplace = (
        ekfac(point(lambda b=b: build(b)), ROWS, Draws((0,))).blocks for b in (False, True)
    )
    for a, b in zip(plain, inplace, strict=True):
        assert torch.equal(a.scales, b.scales)
        assert torch.equal(a.inner, b.inner)


def test_same_draws_same_bits_and_other_draws_other_numbers():
    here = point(batchnorm64)
    first, again, other = (ekfac(here, ROWS, Draws((k,))) for k in (0, 0, 1))
    for a, b, c in zip(first.blocks, again.blocks, other.blocks, strict=True):
        assert torch.equal(a.scales, b.scales)
        assert not torch.allclose(a.scales, c.scales)
    assert torch.equal(first.diagonal["1.weight"], again.diagonal["1.weight"])
    assert not torch.allclose(first.diagonal["1.weight"], other.diagonal["1.weight"])


def test_the_module_is_left_as_it_was():
    """In training mode before and after, though read in evaluation mode; no hook, no gradient."""
    here = point(batchnorm64)
    here.module[1].running_mean.fill_(0.3)
    before = {n: t.clone() for n, t in here.module.state_dict().items()}
    here.module.train()
    here.module[1].eval()
    trained = ekfac(here, ROWS, Draws((0,)))
    assert [part.training for part in here.module.modules()] == [True, True, False, True, True]
    here.module.eval()
    judged = ekfac(here, ROWS, Draws((0,)))
    assert torch.equal(trained.blocks[1].scales, judged.blocks[1].scales)
    assert all(torch.equal(t, before[n]) for n, t in here.module.state_dict().items())
    assert not any(part._forward_hooks for part in here.module.modules())
    assert all(p.grad is None and p.requires_grad for p in here.module.parameters())
