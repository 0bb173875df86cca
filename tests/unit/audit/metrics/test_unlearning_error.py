"""unlearning_error(): its three forms by hand, and what the strict one is made for."""

import pytest
import torch

from expunge.audit.metrics.unlearning_error import unlearning_error
from expunge.errors import BadInput


def one(distance=3.0, sigma=4.0, rates=(0.1,) * 5):
    return unlearning_error(torch.tensor(distance), torch.tensor(sigma), torch.tensor(rates))


def test_at_a_fixed_rate_the_forms_are_those_of_theory_paper_and_code():
    found = one()
    assert float(found.strict) == pytest.approx(0.1 * 2 * 3 * 4)
    assert float(found.paper) == pytest.approx(0.1**2 * 2 * 3 * 4)
    assert float(found.code) == pytest.approx(0.1**2 * 2.5 * 3 * 4**0.5)
    assert (found.rate, found.steps) == (pytest.approx(0.1), 5)
    assert (float(found.distance), float(found.sigma)) == (3.0, 4.0)


def test_one_step_has_no_error_but_in_the_code():
    assert float(one(rates=(0.1,)).strict) == float(one(rates=(0.1,)).paper) == 0.0
    assert float(one(rates=(0.1,)).code) > 0


def test_rates_that_change_are_weighed_by_the_way_gone_before():
    """0.3 at first, 0.1 in the second and third step: (0.1 x 0.3 + 0.1 x 0.4) / 0.5."""
    found = one(rates=(0.3, 0.1, 0.1))
    assert float(found.strict) == pytest.approx(0.14 * 12)
    assert float(found.paper) == pytest.approx(0.5 / 3 * 0.14 * 12)


def test_a_late_rate_weighs_more_than_an_early_one():
    assert float(one(rates=(0.1, 0.3)).strict) == pytest.approx(float(one(rates=(0.3, 0.1)).strict))
    early, late = one(rates=(0.3, 0.1, 0.1)), one(rates=(0.1, 0.1, 0.3))
    assert float(late.strict) == pytest.approx((0.01 + 0.06) / 0.5 * 12)
    assert float(early.strict) == pytest.approx(float(late.strict))  # all pairs are weighed alike


def test_no_rate_moves_nothing():
    found = one(distance=0.0, rates=(0.0, 0.0))
    assert [float(v) for v in (found.strict, found.paper, found.code)] == [0.0] * 3


def test_it_is_asked_for_many_models_at_once():
    found = unlearning_error(
        torch.tensor([1.0, 2.0]), torch.tensor([4.0, 1.0]), torch.full((3,), 0.5)
    )
    assert found.strict.tolist() == pytest.approx([0.5 * 4, 0.5 * 2])


def test_on_quadratics_the_strict_form_bounds_what_it_stands_for():
    """The verification error of single-gradient unlearning of one row in ten, by hand.

    Loss w' H w / 2 - b w with other H and b for each row, full batches: everything is a recursion.
    """
    g = torch.Generator().manual_seed(0)
    rows, d, t = 10, 4, 8
    roots = torch.randn(rows, d, d, generator=g, dtype=torch.float64)
    h, b = roots @ roots.mT / d, torch.randn(rows, d, generator=g, dtype=torch.float64)
    top = float(torch.linalg.eigvalsh(h.mean(0)).max())
    for rate in (0.01, 0.02):
        start = torch.randn(d, generator=g, dtype=torch.float64)
        whole, left = start.clone(), start.clone()
        for _ in range(t):
            whole = whole - rate * ((h @ whole - b).sum(0)) / rows
            left = left - rate * ((h[1:] @ left - b[1:]).sum(0)) / rows
        undone = whole + rate * t / rows * (h[0] @ start - b[0])
        error = float((undone - left).norm())
        distance = (whole - start).norm()
        strict = float(unlearning_error(distance, torch.tensor(top), torch.full((t,), rate)).strict)
        assert 0 < error < strict


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"distance": -1.0}, "distances that are negative"),
        ({"sigma": -2.0}, "singular values that are negative"),
        ({"rates": (0.1, float("nan"))}, "rates that are negative or not finite"),
        ({"rates": ()}, "a rate for each of at least one step"),
        ({"sigma": [1.0, 2.0]}, r"distances of \(\) and singular values of \(2,\)"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(settings, match):
    with pytest.raises(BadInput, match=match):
        one(**settings)
