"""Influence from models trained on parts of the data, and the most memorised rows."""

from itertools import product

import pytest
import torch

from expunge.contract.problems import generator
from expunge.errors import BadInput
from expunge.forget_sets import attribution_matrix, most_memorised, self_influence


def factorial(rows=5):
    """One model for every subset of the rows, and margins that are sums of planted effects."""
    memberships = torch.tensor(list(product([False, True], repeat=rows)))
    effects = torch.randn(rows, rows, generator=generator(0))
    base = 1000 * torch.randn(rows, generator=generator(1))  # large, so that float32 is tried
    return memberships, (base + memberships.double() @ effects.double()), effects


def uneven(models=40, rows=30, others=7):
    """Memberships that are not halves, margins without structure."""
    memberships = torch.rand(models, rows, generator=generator(2)) < 0.3
    return memberships, torch.randn(models, others, generator=generator(3))


def by_loop(memberships, margins):
    """Difference of the two means, one pair at a time."""
    found = torch.empty(memberships.shape[1], margins.shape[1])
    for i, inside in enumerate(memberships.T):
        for j, values in enumerate(margins.T):
            found[i, j] = values[inside].mean() - values[~inside].mean()
    return found


def test_planted_effects_are_found_exactly():
    """Over all subsets the other rows' effects cancel."""
    memberships, margins, effects = factorial()
    found = attribution_matrix(memberships, margins)
    torch.testing.assert_close(found, effects, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(self_influence(memberships, margins), effects.diag())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_uneven_memberships_give_the_difference_of_means(dtype):
    memberships, margins = uneven()
    margins = margins.to(dtype)
    expected = by_loop(memberships, margins.double())
    found = attribution_matrix(memberships, margins)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    own = self_influence(memberships[:, :7], margins)
    torch.testing.assert_close(own, expected[:7].diag(), atol=1e-5, rtol=1e-5)


def test_more_rows_than_are_multiplied_at_a_time():
    memberships = torch.rand(6, 2500, generator=generator(4)) < 0.5
    memberships[0], memberships[1] = True, False  # so that every row has both
    margins = torch.randn(6, 3, generator=generator(5))
    found = attribution_matrix(memberships, margins)
    for row in (0, 1023, 1024, 2047, 2048, 2499):
        expected = by_loop(memberships[:, [row]], margins)[0]
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


def test_rows_in_all_or_no_model_have_no_estimate():
    memberships, margins, effects = factorial()
    subset = memberships[:, 2]
    found = attribution_matrix(memberships[subset], margins[subset])  # row 2 is in all of these
    assert found[2].isnan().all()
    assert not found[[0, 1, 3, 4]].isnan().any()
    found = self_influence(memberships[~subset], margins[~subset])  # and in none of those
    assert found.isnan().tolist() == [False, False, True, False, False]
    torch.testing.assert_close(found[3], effects[3, 3], atol=1e-4, rtol=1e-4)


def test_nothing_given_is_changed():
    memberships, margins = uneven()
    before = memberships.clone(), margins.clone()
    attribution_matrix(memberships, margins)
    self_influence(memberships[:, :7], margins)
    assert torch.equal(memberships, before[0])
    assert torch.equal(margins, before[1])


def test_the_most_memorised_have_the_highest_scores_and_of_equals_the_lowest_numbers():
    scores = torch.tensor([5.0, 1.0, 9.0, 5.0, 5.0, -9.0, float("nan")])
    assert most_memorised(scores, 1, torch.tensor([4, 1, 3, 0])).tolist() == [0]
    assert most_memorised(scores, 2, torch.tensor([4, 2, 3, 0])).tolist() == [0, 2]
    assert most_memorised(scores, 3, torch.tensor([5, 4, 1, 2])).tolist() == [1, 2, 4]


def test_bad_input_of_most_memorised():
    scores = torch.tensor([5.0, float("nan"), 2.0])
    with pytest.raises(BadInput, match=r"row 1 has no score \(1 such\): all or none"):
        most_memorised(scores, 1, torch.arange(3))
    with pytest.raises(BadInput, match="a forget set of 4 rows from 3"):
        most_memorised(scores, 4, torch.arange(3))


@pytest.mark.parametrize("make", [self_influence, attribution_matrix])
def test_arrays_that_do_not_belong_together(make):
    memberships, margins, _ = factorial()
    bad = margins.clone()
    bad[3, 2] = float("inf")
    for given, match in (
        ((memberships.float(), margins), r"memberships of torch.float32, shape \(32, 5\)"),
        ((memberships[0], margins), "memberships of torch.bool"),
        ((memberships[:9], margins), r"margins of .*\(32, 5\), for memberships of 9 models"),
        ((memberships, margins[..., None]), r"margins of .*\(32, 5, 1\)"),
        ((memberships, margins.long()), "margins of torch.int64"),
        ((memberships, bad), "margins that are NaN or infinite"),
    ):
        with pytest.raises(BadInput, match=match):
            make(*given)


def test_the_influence_of_rows_on_themselves_needs_the_same_rows():
    memberships, margins, _ = factorial()
    with pytest.raises(BadInput, match=r"memberships of shape \(32, 5\) and margins of \(32, 4\)"):
        self_influence(memberships, margins[:, :4])
