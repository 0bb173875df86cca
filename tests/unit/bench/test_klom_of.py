"""KLoM of a cell, by either convention."""

import pytest
import torch

from expunge.audit.metrics.klom import klom
from expunge.bench.answers import GROUPS, answers
from expunge.bench.scores import klom_of
from expunge.contract.problems import generator

ROWS = 8


def cell(shift):
    """60 models of ROWS rows in each group; only the answers on forgotten rows are shifted."""
    outputs, targets = {}, {}
    for k, group in enumerate(GROUPS):
        outputs[group] = torch.randn(60, ROWS, 3, generator=generator(10 * k + int(shift)))
        targets |= {group: torch.zeros(ROWS).long(), f"{group}_rows": torch.arange(ROWS)}
    outputs["forget"][..., 0] += shift
    return answers([outputs], targets, None)


@pytest.mark.parametrize("convention", ["expunge", "paper"])
def test_it_is_the_95th_percentile_of_each_group(convention):
    own, oracle = cell(3.0), cell(0.0)
    found = klom_of(own, oracle, convention)
    for group in GROUPS:
        margins = own[group].margin, oracle[group].margin
        expected = klom(*margins, convention=convention).quantile(0.95)
        assert found["parts"][group] == pytest.approx(float(expected))
    assert found["value"] == found["parts"]["mean"]
    assert found["parts"]["forget"] > 2 * found["parts"]["test"]
    assert set(found["se"]) == {*GROUPS, "mean"}


def test_the_conventions_differ():
    ours, paper = (klom_of(cell(3.0), cell(0.0), name)["value"] for name in ("expunge", "paper"))
    assert ours != paper
    assert ours == pytest.approx(paper, rel=0.2)
