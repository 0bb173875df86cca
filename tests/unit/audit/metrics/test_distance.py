import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from expunge.audit.metrics.distance import distance, distance_null
from expunge.errors import BadInput

law = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def naive(model, oracle):
    squares = []
    for r, value in enumerate(model):
        column = [float(o[r]) for o in oracle]
        squares.append(((value - statistics.fmean(column)) / statistics.stdev(column)) ** 2)
    return math.sqrt(statistics.fmean(squares))


def draw(models, rows, seed=0):
    return torch.randn(models, rows, generator=torch.Generator().manual_seed(seed)).double()


def test_matches_a_loop():
    u, o = draw(4, 9, 1) + 2, draw(12, 9, 2)
    np.testing.assert_allclose(distance(u, o), [naive(m.tolist(), o.tolist()) for m in u])


def test_null_leaves_out_each_oracle_in_turn():
    o = draw(10, 6)
    expected = [naive(o[i].tolist(), torch.cat([o[:i], o[i + 1 :]]).tolist()) for i in range(10)]
    np.testing.assert_allclose(distance_null(o), expected)


def test_by_hand():
    # mean 0, unbiased variance 10 / 9: a model at 2 lies 2 / sqrt(10 / 9) away
    oracle = torch.tensor([1.0, -1.0] * 5).unsqueeze(-1)
    assert distance(torch.tensor([[2.0]]), oracle).item() == pytest.approx(2 / math.sqrt(10 / 9))


def test_oracles_that_agree_give_a_large_number_but_no_nan():
    oracle = torch.ones(10, 2)
    same, far = distance(torch.tensor([[1.0, 1.0], [1.0, 2.0]]), oracle).tolist()
    assert same == 0
    assert far == pytest.approx(1 / (1e-6 * 2) / math.sqrt(2), rel=1e-6)
    assert distance(torch.zeros(1, 2), torch.zeros(10, 2)).item() == 0
    assert distance_null(torch.zeros(10, 2)).tolist() == [0] * 10


values = arrays(np.float64, st.just((13, 3)), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@law
@given(values)
def test_always_finite_and_blind_to_order(table):
    u, o = torch.from_numpy(table[:2]), torch.from_numpy(table[2:])
    value = distance(u, o)
    assert value.isfinite().all()
    assert (value >= 0).all()
    torch.testing.assert_close(distance(u.flip(0), o), value.flip(0))
    assert distance_null(o).isfinite().all()


def test_blind_to_the_unit_and_growing_with_the_shift():
    u, o = draw(3, 20, 1), draw(15, 20, 2)
    torch.testing.assert_close(distance(5 * u + 3, 5 * o + 3), distance(u, o))
    shifts = [distance(o.mean(0, keepdim=True) + s, o).item() for s in (0.0, 1.0, -2.0)]
    assert shifts[0] == 0 < shifts[1] < shifts[2]


def test_ten_oracles_are_needed():
    spoilt = draw(10, 3)
    spoilt[4, 2] = math.nan
    with pytest.raises(BadInput, match="at least 10 oracles"):
        distance(draw(1, 3), draw(9, 3))
    with pytest.raises(BadInput, match="at least 10 oracles"):
        distance_null(draw(9, 3))
    with pytest.raises(BadInput, match="one row"):
        distance(draw(1, 0), draw(10, 0))
    with pytest.raises(BadInput, match="1 unlearned margins are NaN"):
        distance(torch.tensor([[math.nan]]), draw(10, 1))
    with pytest.raises(BadInput, match="1 oracle margins are NaN or infinite, first in row 2"):
        distance_null(spoilt)
    with pytest.raises(BadInput, match="margins of shapes"):
        distance(draw(1, 4), draw(10, 3))
