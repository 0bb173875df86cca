import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from expunge.audit.metrics import klom as file
from expunge.audit.metrics.klom import klom, p95
from expunge.errors import BadInput

law = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def naive(unlearned, oracle, bins=20, floor=1e-5):
    values = []
    for p, q in zip(unlearned.double().numpy().T, oracle.double().numpy().T, strict=True):
        low, high = min(p.min(), q.min()), max(p.max(), q.max())
        if low == high:
            values.append(0.0)
            continue
        p = np.histogram(p, bins, (low, high))[0] / len(p)
        q = np.maximum(np.histogram(q, bins, (low, high))[0] / len(q), floor)
        values.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))
    return np.array(values)


def paper(p, q):
    """One row by the public code's rules, from the reference; 0/0 gives nan."""
    p = np.clip(p, -100, 100)
    edges = np.linspace(min(p.min(), q.min()), max(p.max(), q.max()), 20)
    with np.errstate(invalid="ignore"):
        p, q = (
            np.bincount(np.digitize(x, edges), minlength=21)[:20] / (x < edges[-1]).sum()
            for x in (p, q)
        )
    q = np.maximum(q, 1e-5)
    q = q / q.sum()
    if np.isnan(p).any() or np.isnan(q).any():
        return math.nan
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def draw(models, rows, shift=0.0, seed=0):
    return torch.randn(models, rows, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 50), (100, 100), (60, 100)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 30.0])
def test_matches_a_loop_over_numpy_histograms(m, n, shift):
    u, o = draw(m, 40, shift, 1), draw(n, 40, 0, 2)
    np.testing.assert_allclose(klom(u, o), naive(u, o), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(klom(u, o, bins=7, floor=0.01), naive(u, o, 7, 0.01), atol=1e-12)


def test_two_bins_by_hand_pin_the_direction():
    u, o = torch.tensor([[0.0], [0.0], [0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    forward = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    backward = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert klom(u, o, bins=2).item() == pytest.approx(forward, rel=1e-12)
    assert klom(o, u, bins=2).item() == pytest.approx(backward, rel=1e-12)
    assert forward != pytest.approx(backward, rel=1e-2)


def test_all_unlearned_at_the_shared_maximum_score_the_ceiling_not_zero():
    oracle = torch.linspace(-1, 1, 100).unsqueeze(-1)
    oracle = oracle[oracle[:, 0] < 0.5]  # elsewhere
    top = torch.ones(100, 1)
    assert klom(top, oracle).item() == pytest.approx(math.log(1e5))
    assert klom(oracle, top).item() == pytest.approx(math.log(1e5), rel=0.5)
    assert klom(oracle, top).item() > 5


finite = st.floats(-1e6, 1e6, allow_subnormal=False)
samples = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=finite)


@law
@given(samples, samples, st.integers(1, 25))
def test_every_sample_falls_into_a_bin(p, q, bins):
    p, q = torch.from_numpy(p), torch.from_numpy(q)
    low, high = file._range(p, q)
    width = torch.where(high > low, high - low, 1.0)
    for x in (p, q):
        counts = file._counts(file._bin(x, low, width, bins), bins)
        assert counts.sum(-1).tolist() == [len(x)] * 3
        assert (counts >= 0).all()


def test_the_sample_at_the_right_edge_counts_once():
    x = torch.tensor([[0.0], [0.5], [1.0], [1.0]], dtype=torch.float64)
    index = file._bin(x, torch.tensor([0.0]), torch.tensor([1.0]), 4)
    assert file._counts(index, 4).tolist() == [[1, 0, 1, 2]]


@law
@given(samples, st.permutations(range(3)))
def test_equal_groups_score_zero_and_order_is_irrelevant(p, order):
    p = torch.from_numpy(p)
    assert klom(p, p).tolist() == [0, 0, 0]
    assert torch.equal(klom(p, p.flip(0)), klom(p, p))
    q = torch.cat([p, p[:1] + 1])
    assert torch.equal(klom(p, q.flip(0))[order], klom(p[:, order], q[:, order]))


@law
@given(samples, samples, st.sampled_from([2.0, 0.5, -1.0, 1024.0]))
def test_bounded_by_the_floor_and_blind_to_the_unit(p, q, unit):
    p, q = torch.from_numpy(p), torch.from_numpy(q)
    value = klom(p, q)
    assert (value <= math.log(1e5) + 1e-12).all()
    assert (value >= -math.log1p(20e-5)).all()
    if unit > 0:  # a power of two: exact; a negative one turns half-open bins around
        assert torch.equal(klom(p * unit, q * unit), value)


def test_constant_rows_score_zero_and_leave_their_neighbours_alone():
    u, o = draw(100, 3, 0, 1), draw(100, 3, 2, 2)
    before = klom(u, o)
    u[:, 1] = o[:, 1] = 7.0
    for convention in ("expunge", "paper"):
        assert klom(u, o, convention=convention)[1].item() == 0
    assert torch.equal(klom(u, o)[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e290])
def test_extreme_scales_stay_finite(scale):
    u, o = draw(100, 5, 0, 1).double() * scale, draw(100, 5, 0, 2).double() * scale
    np.testing.assert_allclose(klom(u, o), naive(u / scale, o / scale), rtol=1e-9)


def test_half_precision_margins_are_binned_in_double():
    u, o = draw(50, 5, 0, 1).half(), draw(50, 5, 0, 2).half()
    assert klom(u, o).dtype == torch.float64
    assert torch.equal(klom(u, o), klom(u.double(), o.double()))


def test_no_rows_give_no_values():
    assert klom(torch.zeros(3, 0), torch.zeros(4, 0)).shape == (0,)


@pytest.mark.parametrize(
    ("shift", "oracle"),
    [(0, 0), (3, 0), (90, 0), (99, 0), (-450, 0), (0, 105), (105, 105), (0, -105)],
)
def test_paper_convention_matches_the_public_rules(shift, oracle):
    u = draw(100, 30, 0, 1).double() * 3 + shift
    o = draw(80, 30, 0, 2).double() * 3 + oracle
    expected = [paper(u[:, r].numpy(), o[:, r].numpy()) for r in range(30)]
    np.testing.assert_allclose(klom(u, o, convention="paper"), expected, rtol=1e-12)


@law
@given(arrays(np.int8, (9, 4), elements=st.integers(0, 6)))
def test_paper_convention_matches_on_ties_wherever_it_is_defined(table):
    u, o = table[:4].astype(float) / 10, table[4:].astype(float) / 10
    given = klom(torch.from_numpy(u), torch.from_numpy(o), convention="paper").numpy()
    expected = np.array([paper(u[:, r], o[:, r]) for r in range(4)])
    defined = ~np.isnan(expected)
    np.testing.assert_allclose(given[defined], expected[defined], rtol=1e-12, atol=1e-12)
    assert np.isfinite(given).all()


def test_paper_convention_where_the_public_code_divides_zero_by_zero():
    low, top = torch.zeros(10, 1), torch.ones(10, 1)
    assert math.isnan(paper(top[:, 0].numpy(), low[:, 0].numpy()))
    # all of a group at the maximum: its mass stays in the last of 20 slots, 18 others are floored
    ceiling = math.log((1 + 19e-5) / 1e-5)
    assert klom(top, low, convention="paper").item() == pytest.approx(ceiling, rel=1e-9)
    assert klom(low, top, convention="paper").item() == pytest.approx(ceiling, rel=1e-9)


def test_p95_interpolates_as_numpy_does():
    values = draw(1, 137)[0]
    assert p95(values).item() == pytest.approx(np.percentile(values.double().numpy(), 95))
    assert p95(torch.arange(21.0)).item() == 19
    with pytest.raises(BadInput, match="no values"):
        p95(torch.zeros(0))


def test_errors_say_what_was_wrong():
    x = torch.zeros(3, 2)
    with pytest.raises(BadInput, match="convention 'easydub'"):
        klom(x, x, convention="easydub")
    with pytest.raises(BadInput, match="bins=0"):
        klom(x, x, bins=0)
    with pytest.raises(BadInput, match="bins=1"):
        klom(x, x, bins=1, convention="paper")
    with pytest.raises(BadInput, match="floor=0"):
        klom(x, x, floor=0)
    with pytest.raises(BadInput, match="margins of shapes"):
        klom(x, torch.zeros(3, 1))
    with pytest.raises(BadInput, match="1 oracle margins are NaN or infinite, first in row 1"):
        klom(x, torch.tensor([[0.0, math.nan]]))
