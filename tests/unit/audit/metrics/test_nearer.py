"""Nearer: votes of rows, the exact sign test, and which models form triples."""

import pytest
import torch

from expunge.audit.metrics import METRICS
from expunge.audit.metrics.nearer import sign_test, votes
from expunge.errors import BadInput
from tests.unit.audit.folders import evidence


def test_a_row_votes_for_the_nearer_model_and_a_tie_is_half_a_vote():
    ours, wanted, before = (
        torch.tensor([row]) for row in ([0.0, 0, 0, 0], [1.0, 2, 3, 1], [2.0, 1, 3, -5])
    )
    assert votes(ours, wanted, before).tolist() == [(1 + 0 + 0.5 + 1) / 4]


def test_the_p_value_is_that_of_fair_coins():
    assert sign_test(torch.tensor([1.0] * 5)) == 1 / 32
    assert sign_test(torch.tensor([1.0, 1.0, 0.5])) == 4 / 8
    assert sign_test(torch.zeros(4)) == 1.0


def test_sides_of_other_shapes_are_refused():
    with pytest.raises(BadInput, match="3, 2 and 3 models, 4 rows"):
        votes(torch.zeros(3, 4), torch.zeros(2, 4), torch.zeros(3, 4))


def test_no_model_is_in_two_triples_and_no_original_is_beside_its_own_model(tmp_path):
    given, metric = evidence(tmp_path), METRICS["nearer"]
    file = given.unlearned["dmm"]
    sides = [given.margins(one, "forget")[:] for one in (file, given.oracle, given.original)]
    shares = votes(sides[0][:6], sides[1][:6], sides[2][6:])
    found = metric.measure(file, given)
    assert found["value"] == pytest.approx(100 * float(shares.mean()))
    assert (found["p"], found["models"]) == (sign_test(shares), 6)
    assert metric.null(given)["value"] > 50, "retrained models are nearer to retrained ones"
    assert metric.measure(given.original, given)["value"] < 50
