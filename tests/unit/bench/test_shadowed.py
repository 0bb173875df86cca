"""The two attacks of a benchmark that learn from retrained models: who is whose shadow."""

import pytest
import torch

from expunge.audit.metrics.class_threshold import called_members
from expunge.audit.metrics.risk import privacy_risk
from expunge.audit.metrics.shadow import Shadow
from expunge.bench.answers import GROUPS, answers
from expunge.bench.scores import Judge, scores
from expunge.contract.problems import generator

NAMES = ("m-entropy by class", "privacy risk")
NOBODY = torch.tensor([], dtype=torch.int64)
ROWS = {"forget": 30, "retain": 60, "test": 60}


def cell(members, seed, sure=0.0, classes=3, **more):
    """Random answers; on the groups named the true class has so much more."""
    outputs, targets = {}, {}
    for k, group in enumerate(GROUPS):
        y = torch.arange(ROWS[group]) % classes
        z = torch.randn(members, ROWS[group], classes, generator=generator(100 * seed + k))
        right = torch.nn.functional.one_hot(y, classes)
        outputs[group] = z + (sure + more.get(group, 0.0)) * right
        targets |= {group: y, f"{group}_rows": torch.arange(ROWS[group])}
    return answers([outputs], targets, None)


def measured(own, oracle, emptied=NOBODY):
    judge = Judge(oracle, emptied, torch.zeros(len(own["forget"].margin)))
    return scores(NAMES, own, judge, None)


def by_hand(own, oracle, k, shadow):
    parts = [
        x
        for group in ("retain", "test")
        for x in (oracle[group].modified_entropy[shadow : shadow + 1], oracle[group].targets)
    ]
    known = Shadow(*parts)
    values, targets = own["forget"].modified_entropy[k : k + 1], own["forget"].targets
    return [
        100 * float(measure(values, targets, known).double().mean())
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
    oracle, own = cell(4, 2, retain=1.0), cell(4, 1)
    retained = oracle["retain"].only(oracle["retain"].targets != 1)
    oracle = {**oracle, "retain": retained}
    forgotten = own["forget"].only(own["forget"].targets == 1)
    found, _ = measured({**own, "forget": forgotten}, oracle, torch.tensor([1]))
    without = {**oracle, "test": oracle["test"].only(oracle["test"].targets != 1)}
    wanted = by_hand({**own, "forget": forgotten}, without, 0, 1)
    assert [found[name]["values"][0] for name in NAMES] == pytest.approx(wanted)


def test_a_single_retrained_model_has_none_to_judge_it():
    found, missing = measured(cell(1, 1), cell(1, 2))
    assert [found[name] for name in NAMES] == [None, None]
    for name in NAMES:
        assert missing[name] == "needs 2 models on each side, has 1"
