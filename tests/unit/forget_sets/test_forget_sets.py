"""Forget sets made from data: at random, one class, ends of components, neighbours."""

import pytest
import torch

from expunge.contract.problems import generator
from expunge.errors import BadInput
from expunge.forget_sets import likeness as module
from expunge.forget_sets import nearest, principal_end, random_rows, random_share, whole_class
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


def test_a_larger_random_set_holds_the_smaller_one():
    few, more = (random_rows(CANDIDATES, count, Draws((3,))) for count in (2, 4))
    assert torch.isin(few, more).all()


@pytest.mark.parametrize(("share", "count"), [(0.1, 10), (0.254, 25), (0.256, 26), (1, 100)])
def test_a_share_is_so_many_random_rows(share, count):
    candidates = torch.arange(200, 300)
    rows = random_share(candidates, share, Draws((0,)))
    assert len(rows) == count
    assert torch.equal(rows, random_rows(candidates, count, Draws((0,))))


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_shares_that_are_none(share):
    with pytest.raises(BadInput, match=f"a share of {share}. Expected: a number above 0, up to 1"):
        random_share(CANDIDATES, share, Draws((0,)))


def test_a_share_of_less_than_half_a_row():
    with pytest.raises(BadInput, match="a forget set of 0 rows from 6"):
        random_share(CANDIDATES, 0.08, Draws((0,)))


def test_a_class_is_all_its_candidates():
    targets = torch.zeros(31, dtype=torch.int64)
    targets[[1, 2, 9, 30]] = 5
    assert whole_class(targets, 5, CANDIDATES).tolist() == [1, 9, 30]
    assert whole_class(targets, 0, CANDIDATES).tolist() == [4, 17, 22]
    with pytest.raises(BadInput, match="no row of class 3. Expected: one of the classes 0, 5"):
        whole_class(targets, 3, CANDIDATES)


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


@pytest.mark.parametrize("component", [0, 1])
def test_the_top_is_where_the_feature_of_largest_weight_is_large(component):
    x, place = line()
    for end in ("top", "bottom"):
        found = principal_end(x, torch.arange(40), 4, component=component, end=end)
        assert {*place[found].tolist()} == ENDS[component][end == "top"]


def test_only_candidates_count_and_features_may_be_pictures():
    x, place = line()
    candidates = torch.arange(0, 40, 2)
    among = candidates[place[candidates].argsort()]
    found = principal_end(x.reshape(40, 3, 1), candidates, 4)
    assert {*found.tolist()} in ({*among[:4].tolist()}, {*among[-4:].tolist()})


@pytest.mark.parametrize("component", [0, 1])
def test_an_end_by_its_name_and_both_ends_together(component):
    x, _ = line()
    everywhere = torch.arange(40)

    def end(count, **how):
        return {*principal_end(x, everywhere, count, component=component, **how).tolist()}

    assert end(4, end="top") == end(4) == end(4, top=True)
    assert end(4, end="bottom") == end(4, top=False)
    assert end(4, end="bottom", top=True) == end(4, top=False)
    assert end(8, end="both") == end(4, end="top") | end(4, end="bottom")
    assert end(7, end="both") == end(4, end="top") | end(3, end="bottom")
    assert end(40, end="both") == {*range(40)}


def test_both_ends_hold_no_row_twice_where_most_are_alike():
    x = torch.zeros(40, 3)
    x[[3, 8]], x[[15, 30]] = 1.0, -1.0
    rows = principal_end(x, torch.arange(40), 20, end="both")
    assert len(rows.unique()) == 20
    assert {3, 8, 15, 30} < {*rows.tolist()}


@pytest.mark.parametrize("component", [0, 1])
@pytest.mark.parametrize("end", ["top", "bottom", "both"])
def test_large_features_have_the_same_ends_by_lanczos(component, end, monkeypatch):
    """Also the sign, which both solvers set alike."""
    x = line()[0].repeat(1, 4)  # more columns than rows of a component
    how = {"component": component, "end": end}
    whole = principal_end(x, torch.arange(40), 6, **how)
    monkeypatch.setattr(module, "WHOLE", 5)
    assert torch.equal(principal_end(x, torch.arange(40), 6, **how), whole)


def test_neighbours_are_those_of_least_distance_and_of_lowest_number_among_equals():
    """Whole-number features, so that distances are exact and often equal."""
    x = torch.randint(4, (300, 2, 3), generator=generator(2)).float()
    candidates = torch.randperm(300, generator=generator(3))[:200]
    row = int(candidates[7])
    squares = {int(c): float((x[c] - x[row]).square().sum()) for c in candidates}
    order = sorted(squares, key=lambda c: (c != row, squares[c], c))
    for count in (1, 5, 60, 200):
        assert nearest(x, row, count, candidates).tolist() == sorted(order[:count])


def test_a_row_is_its_own_nearest_even_among_copies():
    x = torch.ones(2000, 2)
    assert nearest(x, 1500, 1, torch.arange(2000)).tolist() == [1500]
    assert nearest(x, 1500, 3, torch.arange(2000)).tolist() == [0, 1, 1500]


def test_small_differences_far_from_zero_are_seen():
    """A product of norms in float32 would lose them."""
    x = 1000.0 + torch.tensor([[0.0], [0.003], [0.001], [0.002]])
    assert nearest(x, 0, 2, torch.arange(4)).tolist() == [0, 2]


@pytest.mark.parametrize("count", [0, -1, 7])
def test_bad_input(count):
    match = f"a forget set of {count} rows from 6"
    with pytest.raises(BadInput, match=match):
        random_rows(CANDIDATES, count, Draws((0,)))
    with pytest.raises(BadInput, match=match):
        principal_end(torch.ones(40, 3), CANDIDATES, count)
    with pytest.raises(BadInput, match=match):
        nearest(torch.ones(40, 3), 4, count, CANDIDATES)


def test_an_unknown_end():
    with pytest.raises(BadInput, match=r"end 'botom' \(did you mean 'bottom'"):
        principal_end(torch.ones(40, 3), CANDIDATES, 2, end="botom")


@pytest.mark.parametrize("component", [-1, 3])
def test_components_that_do_not_exist(component):
    with pytest.raises(BadInput, match=f"component {component}. Expected: one from 0 to 2: .* 6"):
        principal_end(torch.ones(40, 3), CANDIDATES, 2, component=component)


def test_a_row_that_is_no_candidate_has_no_neighbours():
    with pytest.raises(BadInput, match="row 5 is not among the 6 candidates"):
        nearest(torch.ones(40, 3), 5, 2, CANDIDATES)


def test_features_of_candidates_must_be_finite():
    x = torch.eye(40)
    x[[9, 30], 1] = torch.tensor([float("nan"), float("inf")])
    for make in (
        lambda rows: principal_end(x, rows, 2),
        lambda rows: nearest(x, 4, 2, rows),
    ):
        with pytest.raises(BadInput, match=r"features of row 9 hold NaN or infinity \(2 such\)"):
            make(CANDIDATES)
        assert len(make(CANDIDATES[[0, 2, 4]])) == 2  # others may be anything
