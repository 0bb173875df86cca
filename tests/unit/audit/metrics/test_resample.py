import math

import numpy as np
import pytest
import torch

from expunge.audit.metrics.resample import jackknife, splits
from expunge.errors import BadInput


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def difference(u, o):
    return torch.stack([u.mean() - o.mean(), u.var()])


@pytest.mark.parametrize(("m", "n", "blocks"), [(20, 30, 10), (23, 12, 5), (4, 9, 10)])
def test_matches_a_loop(m, n, blocks):
    u, o = draw(m, 2, seed=1), draw(n, 2, seed=2)
    total = np.zeros(2)
    for which, group in ((0, u), (1, o)):
        parts = np.array_split(np.arange(len(group)), min(blocks, len(group)))
        values = []
        for part in parts:
            kept = group[[i for i in range(len(group)) if i not in part]]
            values.append(difference(kept, o) if which == 0 else difference(u, kept))
        values = np.array([v.tolist() for v in values])
        spread = ((values - values.mean(0)) ** 2).sum(0)
        total += (len(parts) - 1) / len(parts) * spread
    np.testing.assert_allclose(jackknife(difference, u, o, blocks), np.sqrt(total))


def test_single_models_in_blocks_give_the_textbook_error_of_a_mean():
    u, o = draw(10, seed=1), draw(10, seed=2)
    expected = math.sqrt(float(u.var() / 10 + o.var() / 10))
    assert jackknife(lambda u, o: u.mean() - o.mean(), u, o).item() == pytest.approx(expected)


def test_a_group_of_one_adds_nothing():
    u, o = draw(1, seed=1), draw(10, seed=2)
    expected = math.sqrt(float(o.var() / 10))
    assert jackknife(lambda u, o: u.mean() - o.mean(), u, o).item() == pytest.approx(expected)


@pytest.mark.parametrize(("m", "n", "blocks"), [(1, 1, 10), (10, 10, 1)])
def test_nothing_to_leave_out_is_refused(m, n, blocks):
    with pytest.raises(BadInput, match="at least 2 blocks"):
        jackknife(difference, draw(m), draw(n), blocks)


def test_splits_are_disjoint_of_the_right_size_and_reproducible():
    pool = torch.arange(11).unsqueeze(-1)
    for _ in range(2):
        pairs = list(splits(pool, 4, count=30, seed=3))
        assert len(pairs) == 30
        for a, b in pairs:
            assert a.shape == b.shape == (4, 1)
            assert len({*a.flatten().tolist(), *b.flatten().tolist()}) == 8
    assert all(
        torch.equal(x, y)
        for one, two in zip(pairs, splits(pool, 4, count=30, seed=3), strict=True)
        for x, y in zip(one, two, strict=True)
    )
    other = next(splits(pool, 4, count=30, seed=4))
    assert not torch.equal(other[0], pairs[0][0])
    assert not torch.equal(pairs[0][0], pairs[1][0])


def test_splits_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    list(splits(torch.zeros(10, 1), 5, count=3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [0, 6])
def test_splits_need_a_pool_of_twice_the_size(size):
    with pytest.raises(BadInput, match=f"two groups of {size} from 11 oracles"):
        next(splits(torch.zeros(11, 1), size))
