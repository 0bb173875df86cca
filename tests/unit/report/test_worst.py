import pytest
import torch

from expunge.errors import BadInput
from expunge.report.worst import Margins, forget_margins, row_scores

from .documents import evidence


def test_an_unknown_method_is_refused():
    with pytest.raises(BadInput, match="no evidence on the method 'scrub'"):
        forget_margins(evidence(("dmm",)), "scrub")


@pytest.mark.parametrize("metric", ["klom", "distance"])
def test_a_shifted_row_scores_highest(metric):
    generator = torch.Generator().manual_seed(0)
    after, oracle = torch.randn(2, 100, 5, generator=generator, dtype=torch.float64)
    after[:, 3] += 4
    scores = row_scores(Margins(after, after, oracle), metric, 100)
    assert scores.argmax() == 3


def test_oracles_that_agree_give_no_nan():
    ones = torch.ones(3, 2).double()
    assert row_scores(Margins(ones, ones, ones), "distance").tolist() == [0.0, 0.0]
