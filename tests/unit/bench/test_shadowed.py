"""The two attacks that learn from retrained models: who is whose shadow."""

import pytest
import torch

from expunge.audit.evidence.groups import GROUPS
from expunge.audit.metrics.class_threshold import called_members
from expunge.audit.metrics.risk import privacy_risk
from expunge.audit.metrics.shadow import Shadow
from expunge.audit.metrics.signals import modified_entropy
from expunge.bench.scores import scores
from expunge.contract.problems import generator
from tests.unit.bench.made import evidence

NAMES = ("m-entropy by class", "privacy risk")
ROWS = {"forget": 30, "retain": 60, "test": 60}
CLASSES = 3
TARGETS = {group: torch.arange(count) % CLASSES for group, count in ROWS.items()}


def cell(members, seed, sure=0.0, **more):
    """Random answers; on the groups named the true class has so much more."""
    outputs = {}
    for k, group in enumerate(GROUPS):
        shape = members, ROWS[group], CLASSES
        right = torch.nn.functional.one_hot(TARGETS[group], CLASSES)
        z = torch.randn(shape, generator=generator(100 * seed + k))
        outputs[group] = z + (sure + more.get(group, 0.0)) * right
    return outputs


def measured(own, oracle, targets=TARGETS, emptied=()):
    return scores(NAMES, own, evidence(own, oracle, targets, emptied=emptied))


def by_hand(own, oracle, k, shadow, targets=TARGETS, seen=TARGETS):
    parts = [
        x
        for group in ("retain", "test")
        for x in (modified_entropy(oracle[group][shadow : shadow + 1], seen[group]), seen[group])
    ]
    values = modified_entropy(own["forget"][k : k + 1], targets["forget"])
    return [
        100 * float(measure(values, targets["forget"], Shadow(*parts)).double().mean())
        for measure in (called_members, privacy_risk)
    ]


@pytest.mark.parametrize("members", [2, 5])
def test_each_model_is_judged_by_the_retrained_model_of_the_next_number(members):
    own, oracle = cell(3, 1, sure=2.0), cell(members, 2, retain=1.0)
    found, missing = measured(own, oracle)
    for k in range(3):
        wanted = by_hand(own, oracle, k, (k + 1) % members)
        assert [found[name]["values"][k] for name in NAMES] == pytest.approx(wanted)
    assert not set(missing) & set(NAMES)


def test_no_retrained_model_is_its_own_shadow():
    oracle = cell(4, 2, retain=1.0)
    found, _ = measured(oracle, oracle)
    for k in range(4):
        wanted = by_hand(oracle, oracle, k, (k + 1) % 4)
        assert [found[name]["values"][k] for name in NAMES] == pytest.approx(wanted)
        assert wanted != by_hand(oracle, oracle, k, k)


def test_forgotten_rows_that_are_known_stand_out_against_the_null():
    oracle, own = cell(20, 2, retain=2.0), cell(20, 1, retain=2.0, forget=2.0)
    known, null = measured(own, oracle)[0], measured(oracle, oracle)[0]
    for name in NAMES:
        means = [sum(found[name]["values"]) / 20 for found in (known, null)]
        assert means[0] > means[1] + 10, name


def test_a_class_that_is_forgotten_whole_is_judged_by_the_rows_of_the_others():
    kept = {group: TARGETS[group] != 1 for group in ROWS} | {"forget": TARGETS["forget"] == 1}
    oracle, own = cell(4, 2, retain=1.0), cell(4, 1)
    cut = {"forget": kept["forget"], "retain": kept["retain"], "test": torch.ones(60).bool()}
    targets = {group: TARGETS[group][cut[group]] for group in ROWS}
    ours, theirs = ({g: z[g][:, cut[g]] for g in ROWS} for z in (own, oracle))
    found, _ = measured(ours, theirs, targets, emptied=[1])
    seen = {group: TARGETS[group][kept[group]] for group in ROWS}
    without = {group: oracle[group][:, kept[group]] for group in ROWS}
    wanted = by_hand(ours, without, 0, 1, targets, seen)
    assert [found[name]["values"][0] for name in NAMES] == pytest.approx(wanted)


def test_a_single_retrained_model_has_none_to_judge_it():
    found, missing = measured(cell(1, 1), cell(1, 2))
    assert [found[name] for name in NAMES] == [None, None]
    for name in NAMES:
        assert missing[name] == "it needs at least 2 oracles; there are 1"
