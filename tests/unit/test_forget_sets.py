"""Forget sets made from data."""

import pytest
import torch
from problems import generator

from expunge.errors import BadInput
from expunge.forget_sets import principal_end, random_rows
from expunge.rng import Draws

CANDIDATES = torch.tensor([4, 9, 1, 30, 22, 17])


def test_random_rows_are_sorted_candidates_each_as_likely():
    """3,000 sets of 2 of 6: each row in a third, within 5 sd."""
    counts = torch.zeros(31)
    for seed in range(3000):
        rows = random_rows(CANDIDATES, 2, Draws((seed, "r")))
        assert len(rows) == 2
        assert rows[0] < rows[1]
        counts[rows] += 1
    assert counts.sum() == counts[CANDIDATES].sum() == 6000
    assert ((counts[CANDIDATES] - 1000).abs() < 5 * (3000 * 2 / 9) ** 0.5).all()
    assert torch.equal(random_rows(CANDIDATES, 6, Draws((0,))), CANDIDATES.sort().values)


def line():
    """Rows far apart along one axis; along the next, by the square, which is uncorrelated."""
    x = 0.01 * torch.randn(40, 3, generator=generator(0))
    place = torch.randperm(40, generator=generator(1))
    x[:, 0] += 100 * place
    x[:, 1] += (place - 19.5).square()
    return x, place


ENDS = {0: ({0, 1, 2, 3}, {36, 37, 38, 39}), 1: ({18, 19, 20, 21}, {0, 1, 38, 39})}


@pytest.mark.parametrize("component", [0, 1])
def test_the_ends_of_a_principal_component(component):
    x, place = line()
    ends = []
    for top in (True, False):
        found = principal_end(x, torch.arange(40), 4, component=component, top=top)
        assert found.tolist() == sorted(found.tolist())
        ends.append({*place[found].tolist()})
    assert ends in [list(ENDS[component]), list(ENDS[component])[::-1]]


def test_only_candidates_count_and_features_may_be_pictures():
    x, place = line()
    candidates = torch.arange(0, 40, 2)
    among = candidates[place[candidates].argsort()]
    found = principal_end(x.reshape(40, 3, 1), candidates, 4)
    assert {*found.tolist()} in ({*among[:4].tolist()}, {*among[-4:].tolist()})


@pytest.mark.parametrize("count", [0, -1, 7])
def test_bad_input(count):
    match = f"a forget set of {count} rows from 6"
    with pytest.raises(BadInput, match=match):
        random_rows(CANDIDATES, count, Draws((0,)))
    with pytest.raises(BadInput, match=match):
        principal_end(torch.ones(40, 3), CANDIDATES, count)
