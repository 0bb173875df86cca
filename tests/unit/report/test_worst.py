from dataclasses import replace

import pytest
import torch

from expunge.errors import BadInput
from expunge.report.excerpts import excerpts
from expunge.report.figure.distributions import distributions
from expunge.report.worst import Margins, forget_margins, row_scores, row_title

from .documents import document, evidence


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


TITLES = {
    "p7": "Row 100, id p7",
    "<b>&$": "Row 100, id <b>&$",
    "a\nb\x1bc": "Row 100, id a b c",
    "customer-of-1987-from-Dresden": "Row 100, id customer-of-1987-fr…",
    "hmac-sha256:" + "0123456789abcdef" * 4: "Row 100, id hash 0123456789ab…",
}


@pytest.mark.parametrize(("known", "title"), TITLES.items(), ids=repr)
def test_a_row_is_named_by_its_id_where_there_is_one(known, title):
    made, plain = document(("dmm",)), evidence(("dmm",), members=60, rows=2)
    assert row_title(plain, 0) == "Row 100"
    named = replace(plain, people=[known, "other"], texts=["a text", "another"])
    assert row_title(named, 0) == title
    assert title in {row.caption for row in excerpts(made, named, "dmm")}
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in distributions(made, named, "dmm")
