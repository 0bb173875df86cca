"""What a shadow is given, and which of its rows judge a class."""

import math

import pytest
import torch

from expunge.audit.metrics.class_threshold import called_members
from expunge.audit.metrics.risk import privacy_risk
from expunge.audit.metrics.shadow import Shadow
from expunge.errors import BadInput

ONE = torch.ones(1, 4), torch.tensor([0, 0, 1, 1])
BOTH = (called_members, privacy_risk)


def test_a_class_is_judged_by_its_own_rows_or_by_all_where_a_kind_is_lacking():
    trained, unseen = torch.arange(4.0)[None], torch.arange(10.0, 13)[None]
    made = Shadow(trained, torch.tensor([0, 1, 1, 2]), unseen, torch.tensor([1, 0, 1]))
    assert [x.tolist() for x in made.of_class(1)] == [[[1, 2]], [[10, 12]]]
    assert [x.tolist() for x in made.of_class(0)] == [[[0]], [[11]]]
    for lacking in (2, 7):  # 2 has no unseen row, 7 none at all
        assert [x.tolist() for x in made.of_class(lacking)] == [[[0, 1, 2, 3]], [[10, 11, 12]]]
    assert made.of_class(0)[0].dtype == torch.float64


NOT = {
    "one axis": ((torch.ones(4), ONE[1], *ONE), r"trained rows: signals of shape \(4,\)"),
    "targets of another length": (
        (*ONE, torch.ones(1, 3), ONE[1]),
        r"unseen rows: signals of shape \(1, 3\) with targets of shape \(4,\)",
    ),
    "targets that are no numbers of classes": (
        (ONE[0], ONE[1].float(), *ONE),
        "targets of shape .*torch.float32.*class numbers",
    ),
    "targets that are a mask": ((ONE[0], ONE[1].bool(), *ONE), "torch.bool.*class numbers"),
    "no members": ((torch.ones(0, 4), ONE[1], *ONE), "at least one member"),
    "NaN": ((*ONE, ONE[0] * math.nan, ONE[1]), "unseen rows: 4 signals are NaN or infinite"),
    "infinity": ((ONE[0] / 0, ONE[1], *ONE), "trained rows: 4 signals are NaN or infinite"),
    "no trained rows": (
        (torch.ones(1, 0), torch.zeros(0).long(), *ONE),
        "a shadow with 0 trained and 4 unseen rows",
    ),
    "no unseen rows": (
        (*ONE, torch.ones(1, 0), torch.zeros(0).long()),
        "a shadow with 4 trained and 0 unseen rows",
    ),
    "other models": (
        (*ONE, torch.ones(2, 4), ONE[1]),
        "1 shadow models on trained and 2 on unseen rows",
    ),
}


@pytest.mark.parametrize(("given", "match"), NOT.values(), ids=NOT)
def test_what_is_no_shadow(given, match):
    with pytest.raises(BadInput, match=match):
        Shadow(*given)


@pytest.mark.parametrize("measure", BOTH)
def test_what_it_cannot_judge(measure):
    made = Shadow(*ONE, *ONE)
    with pytest.raises(BadInput, match="judged rows: signals of shape"):
        measure(torch.ones(4), ONE[1], made)
    with pytest.raises(BadInput, match=r"with targets of shape \(3,\)"):
        measure(torch.ones(1, 4), torch.zeros(3).long(), made)
    with pytest.raises(BadInput, match="judged rows: 1 signals are NaN"):
        measure(torch.tensor([[1.0, math.nan]]), torch.tensor([0, 1]), made)
    two = Shadow(ONE[0].expand(2, 4), ONE[1], ONE[0].expand(2, 4), ONE[1])
    with pytest.raises(BadInput, match="2 shadow models for 3 judged models"):
        measure(torch.ones(3, 4), ONE[1], two)


@pytest.mark.parametrize("measure", BOTH)
def test_one_shadow_for_all_and_no_rows_at_all(measure):
    made = Shadow(*ONE, *ONE)
    found = measure(torch.ones(3, 4), ONE[1], made)
    assert found.shape == (3, 4)
    assert (found == found[0]).all()
    assert measure(torch.ones(3, 0), torch.zeros(0).long(), made).shape == (3, 0)
