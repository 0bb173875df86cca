"""Class-balanced splits."""

import pytest
import torch

from expunge.errors import BadInput
from expunge.rng import Draws
from expunge.zoo.balanced import balanced, trial_rows

TARGETS = torch.arange(60) % 3  # 20 rows of each of 3 classes
DRAWS = Draws((0, "split"))


def per_class(rows):
    return TARGETS[rows].bincount(minlength=3).tolist()


def test_both_lists_have_as_many_rows_of_each_class_and_none_in_common():
    front, back = balanced(TARGETS, 3, 30, 9, DRAWS)
    assert per_class(front) == [10, 10, 10]
    assert per_class(back) == [3, 3, 3]
    assert not torch.isin(front, back).any()
    for rows in (front, back):
        assert rows.dtype == torch.int64
        assert (rows.diff() > 0).all()
    everything = torch.cat(balanced(TARGETS, 3, 51, 9, DRAWS))
    assert everything.sort().values.tolist() == list(range(60))


def test_smaller_lists_hold_only_rows_of_larger_ones():
    front, back = balanced(TARGETS, 3, 51, 9, DRAWS)
    fewer, behind = balanced(TARGETS, 3, 6, 3, DRAWS)
    assert torch.isin(fewer, front).all()
    assert torch.isin(behind, back).all()


def test_every_row_is_as_likely():
    """In 3,000 splits each row is in the first list in a tenth, within 5 sd."""
    counts = torch.zeros(60)
    for seed in range(3000):
        front, _ = balanced(TARGETS, 3, 6, 3, Draws((seed, "split")))
        counts[front] += 1
    assert ((counts - 300).abs() < 5 * (3000 * 0.1 * 0.9) ** 0.5).all()


def test_chosen_rows_come_first_and_the_others_stay_where_they_were():
    plain, behind = balanced(TARGETS, 3, 51, 9, DRAWS)
    kept = torch.cat([behind[:2], plain[:1]])
    front, back = balanced(TARGETS, 3, 51, 9, DRAWS, kept)
    assert torch.isin(kept, front).all()
    assert torch.isin(behind[2:], back).all()
    few, _ = balanced(TARGETS, 3, 6, 9, DRAWS, behind[:2].tolist())
    assert torch.isin(behind[:2], few).all()


def test_too_few_rows_of_a_class():
    with pytest.raises(BadInput, match=r"class 0 has 20 rows. Expected: at least 21 of each"):
        balanced(TARGETS, 3, 60, 3, DRAWS)
    with pytest.raises(BadInput, match="class 3 has 0 rows"):
        balanced(TARGETS, 4, 4, 0, DRAWS)


@pytest.mark.parametrize("row", [60, -1])
def test_rows_that_do_not_exist_cannot_come_first(row):
    with pytest.raises(BadInput, match=f"row {row} is out of range"):
        balanced(TARGETS, 3, 3, 3, DRAWS, [0, row])


def test_trials_have_a_multiple_of_ten_rows():
    assert trial_rows(None, 45000) == 45000
    assert trial_rows(500, 45000) == 500
    for rows in (5, 505, 0, -10, 45010, 20.0, "500", True):
        with pytest.raises(BadInput, match=f"{rows!r} train rows. Expected: a multiple of 10"):
            trial_rows(rows, 45000)
