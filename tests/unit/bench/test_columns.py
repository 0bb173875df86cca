"""A benchmark's columns are the metrics of an audit over the same evidence."""

import pytest
import torch

from expunge.audit.evidence.groups import GROUPS
from expunge.audit.metrics import METRICS
from expunge.audit.metrics.klom import klom
from expunge.bench.scores import columns, scores
from expunge.contract.problems import generator
from tests.unit.bench.made import evidence

ROWS, TARGETS = 8, {group: torch.zeros(8).long() for group in GROUPS}


def cell(shift, seed):
    """60 models of ROWS rows in each group; only the answers on forgotten rows are shifted."""
    z = {
        group: torch.randn(60, ROWS, 3, generator=generator(10 * k + seed))
        for k, group in enumerate(GROUPS)
    }
    z["forget"][..., 0] += shift
    return z


def test_klom_is_the_95th_percentile_of_each_group():
    own, oracle = cell(3.0, 1), cell(0.0, 2)
    given = evidence(own, oracle, TARGETS, null=cell(0.0, 3))
    found = scores(("KLoM",), own, given)[0]["KLoM"]
    assert found is not None
    for group in GROUPS:
        margins = given.margins(own, group)[:], given.margins(oracle, group)[:]
        assert found["parts"][group] == pytest.approx(float(klom(*margins).quantile(0.95)))
    table = METRICS["klom"].measure(own, given)
    assert found["value"] == found["parts"]["mean"] == table["average_p95"]
    assert found["parts"]["forget"] > 2 * found["parts"]["test"]
    assert set(found["se"]) == {*GROUPS, "mean"}


def test_what_is_not_measured_has_its_reason():
    own, oracle = cell(3.0, 1), cell(0.0, 2)
    given = evidence(own, oracle, TARGETS)
    found, missing = scores(("U-LiRA", "KLoM", "ZRF"), oracle, given)
    assert list(found.values()) == [None, None, None]
    assert "second group" in missing["U-LiRA"]
    assert "untrained" in missing["ZRF"]
    assert missing["UA"] == "not asked for in the config"
    assert missing.keys() == columns().keys()
