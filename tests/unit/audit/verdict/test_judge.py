import math

import pytest

from expunge.audit.evidence.groups import GROUPS
from expunge.audit.verdict.judge import DELTA, Measured, judge, place
from expunge.errors import BadInput

INSIDE, OUTSIDE, OPEN = (0.8, 0.1, 0.65), (2.5, 0.1, 0.65), (1.6, 0.1, 0.65)


def groups(forget=INSIDE, retain=INSIDE, test=INSIDE):
    return dict(zip(GROUPS, (forget, retain, test), strict=True))


def grade(values=None, original=OUTSIDE, metric="klom", changed=0.5, reason="", **more):
    return judge(values or groups(), original, metric, changed, reason, **more)


def test_tolerances():
    assert DELTA == {"klom": 1.0, "distance": 0.7}


@pytest.mark.parametrize("metric", ["klom", "distance"])
def test_the_limit_is_the_null_plus_delta_two_errors_away(metric):
    limit = 0.5 + DELTA[metric]
    error = 0.25  # a power of two, so that the edge is exact
    assert place(Measured(limit - 0.5, error, 0.5), metric) == "inside"
    assert place(Measured(limit - 0.49, error, 0.5), metric) == "undecided"
    assert place(Measured(limit + 0.5, error, 0.5), metric) == "undecided"
    assert place(Measured(limit + 0.51, error, 0.5), metric) == "outside"


def test_supported_when_all_groups_are_inside_and_the_original_is_not():
    verdict = grade()
    assert verdict.verdict == "supported"
    assert len(verdict.reasons) == 3
    assert verdict.reasons[0] == (
        "On the forget rows: KLoM 0.80, interval 0.60 to 1.00, within the limit of 1.65 "
        "(retrained models among themselves 0.65, tolerance 1)."
    )


@pytest.mark.parametrize("group", GROUPS)
def test_one_group_outside_is_enough_for_not_supported(group):
    verdict = grade(groups(**{group: OUTSIDE}))
    assert verdict.verdict == "not supported"
    assert verdict.reasons[0].startswith(f"On the {group} rows: KLoM 2.50")
    assert "above the limit of 1.65" in verdict.reasons[0]


@pytest.mark.parametrize("group", GROUPS)
def test_one_group_open_is_enough_for_inconclusive(group):
    verdict = grade(groups(**{group: OPEN}))
    assert verdict.verdict == "inconclusive"
    assert verdict.reasons[0].startswith(f"On the {group} rows")
    assert "includes the limit" in verdict.reasons[0]


def test_outside_weighs_more_than_open():
    assert grade(groups(forget=OPEN, test=OUTSIDE)).verdict == "not supported"


def test_whether_an_undecided_original_left_a_trace_is_open():
    verdict = grade(original=OPEN)
    assert verdict.verdict == "inconclusive"
    assert any("it is open whether these rows left a trace" in r for r in verdict.reasons)


def test_an_original_that_is_inside_leaves_no_measurable_trace():
    original = INSIDE
    verdict = grade(original=original)
    assert verdict.verdict == "no measurable trace"
    assert "these rows left no measurable trace" in verdict.reasons[0]
    for worse, word in ((OPEN, "inconclusive"), (OUTSIDE, "not supported")):
        verdict = grade(groups(retain=worse), original)
        assert verdict.verdict == word
        assert any("no measurable trace" in reason for reason in verdict.reasons)


def test_nothing_changed_needs_a_reason():
    assert grade(changed=0, reason=" ").verdict == "refused"
    assert grade(changed=0.0, metric=None).verdict == "refused"
    verdict = grade(changed=0, reason="only outputs are shifted")
    assert verdict.verdict == "supported"
    assert "No weight changed: only outputs are shifted." in verdict.reasons
    assert grade(changed=None).verdict == "supported"


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("lack", [None, (math.nan, 0.1, 0.6), (0.8, math.inf, 0.6)])
def test_a_missing_number_is_never_supported(group, lack):
    verdict = grade(groups(**{group: lack}))
    assert verdict.verdict == "inconclusive"
    assert verdict.reasons == (f"KLoM was not measured on the {group} rows.",)


def test_a_missing_group_original_or_metric_is_never_supported():
    assert grade({"forget": INSIDE, "retain": INSIDE}).verdict == "inconclusive"
    verdict = grade(original=None)
    assert verdict.verdict == "inconclusive"
    assert verdict.reasons == ("KLoM was not measured for the original on the forget rows.",)
    assert grade(metric=None).verdict == "inconclusive"
    assert "nothing to judge by" in grade(metric=None).reasons[0]


def test_over_forgetting_is_named():
    verdict = grade(groups(forget=OUTSIDE), overshoot=True)
    assert verdict.verdict == "not supported"
    assert "over-forgetting" in verdict.reasons[-1]


def test_unknown_metric():
    with pytest.raises(BadInput, match=r"metric 'kolm' \(did you mean 'klom'\?\)"):
        grade(metric="kolm")


def test_an_unchanged_model_that_fails_is_not_supported_rather_than_refused():
    verdict = grade(values=groups(forget=OUTSIDE), changed=0)
    assert verdict.verdict == "not supported"
    assert "No weight changed, and no reason was given for that." in verdict.reasons


def test_a_group_hidden_by_outliers_is_outside():
    verdict = grade(hidden=["test"])
    assert verdict.verdict == "not supported"
    assert "On the test rows some models answer so far" in verdict.reasons[0]
