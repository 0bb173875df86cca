import math

import numpy as np
import pytest
import torch

from expunge.audit.evidence.margin import (
    check_margins,
    classification_margin,
    margins,
    regression_margin,
)
from expunge.errors import BadInput


def naive_margin(z, y):
    others = [math.exp(v - max(z)) for c, v in enumerate(z) if c != y]
    return z[y] - (max(z) + math.log(sum(others)))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_classification_matches_a_loop(classes):
    z, y = random(4, 7, classes), torch.arange(7) % classes
    expected = [[naive_margin(z[m, r].tolist(), int(y[r])) for r in range(7)] for m in range(4)]
    np.testing.assert_allclose(classification_margin(z, y), expected, rtol=1e-12)


def test_classification_is_the_log_odds_of_the_truth():
    z, y = random(50, 5), torch.arange(50) % 5
    p = z.softmax(-1)[torch.arange(50), y]
    torch.testing.assert_close(classification_margin(z, y), (p / (1 - p)).log())


@pytest.mark.parametrize("top", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_neither_overflow_nor_lose_the_gradient(top, dtype):
    z = torch.tensor([[top, 0.0], [0.0, top]], dtype=dtype, requires_grad=True)
    m = classification_margin(z, torch.tensor([0, 0]))
    assert m.tolist() == [top, -top]
    assert m.dtype == dtype
    m.sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [[1, -1], [1, -1]]


def test_classification_gradient_and_vmap():
    z, y = random(6, 4).requires_grad_(), torch.arange(6) % 4
    assert torch.autograd.gradcheck(lambda z: classification_margin(z, y), z)
    vmapped = torch.func.vmap(torch.func.grad(classification_margin))(z, y)
    (looped,) = torch.autograd.grad(classification_margin(z, y).sum(), z)
    torch.testing.assert_close(vmapped, looped)


def test_classification_needs_two_classes():
    with pytest.raises(BadInput, match="1 class"):
        classification_margin(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))


def test_regression_is_the_signed_error_in_either_shape():
    z, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.5])
    assert regression_margin(z, y).tolist() == [-2.0, 0.5]
    assert regression_margin(z.unsqueeze(-1), y).tolist() == [-2.0, 0.5]
    assert torch.func.vmap(regression_margin)(z.unsqueeze(-1), y).tolist() == [-2.0, 0.5]


@pytest.mark.parametrize(("outputs", "targets"), [((3,), (3, 1)), ((3, 3), (3,)), ((4, 1), (3,))])
def test_regression_never_broadcasts_rows_against_rows(outputs, targets):
    with pytest.raises(BadInput, match="one prediction a target"):
        regression_margin(torch.zeros(outputs), torch.zeros(targets))


@pytest.mark.parametrize("rows", [1, 5])
def test_margins_take_outputs_or_margins_and_give_float64(rows):
    z, y = random(3, rows, 4).float(), torch.arange(rows) % 4
    torch.testing.assert_close(
        margins(z, y, "classification"), classification_margin(z.double(), y)
    )
    numbers = random(rows, seed=1)
    torch.testing.assert_close(
        margins(z[..., :1], numbers, "regression"), z[..., 0].double() - numbers
    )
    given = margins(z[..., 0], y, "classification")
    assert given.dtype == torch.float64
    assert torch.equal(given, z[..., 0].double())


def test_margins_refuse_unknown_kinds_and_shapes():
    with pytest.raises(BadInput, match="kind 'ranking' without margins"):
        margins(torch.zeros(2, 2, 1), torch.zeros(2), "ranking")
    with pytest.raises(BadInput, match=r"values of shape \(3,\)"):
        margins(torch.zeros(3), torch.zeros(3), "regression")


def test_margins_that_were_kept_are_of_any_kind():
    assert margins(torch.ones(2, 3), None, "ranking").dtype == torch.float64


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted_and_placed(bad):
    spoilt = torch.zeros(4, 6)
    spoilt[1, 5] = spoilt[3, 2] = bad
    with pytest.raises(BadInput, match="2 unlearned margins are NaN or infinite, first in row 2"):
        check_margins(spoilt, torch.zeros(4, 6))
    with pytest.raises(BadInput, match="2 oracle margins"):
        check_margins(torch.zeros(3, 6), spoilt)


@pytest.mark.parametrize("shapes", [((2,), (2,)), ((2, 3), (2, 4)), ((0, 3), (2, 3))])
def test_groups_that_cannot_be_compared_are_refused(shapes):
    with pytest.raises(BadInput, match="margins of shapes"):
        check_margins(*(torch.zeros(shape) for shape in shapes))
