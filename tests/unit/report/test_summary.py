import re

import pytest

from expunge.report import summary
from expunge.report.advice import next_steps
from expunge.report.words import SIGNS

from .documents import METHODS, document, single, unmeasured


def words_of(finding) -> str:
    return " ".join([finding.sentence, *(particular for *_, particular in finding.methods)])


def test_one_method_is_what_the_summary_is_about():
    assert "“dmm” was used" in summary.opening(single())


def test_findings_contain_no_number_and_no_jargon():
    made = document()
    made["methods"]["fine-tune"]["overshoot"] = True
    text = " ".join(map(words_of, summary.findings(made))) + summary.opening(made)
    assert not re.search(r"\d", text)
    assert not re.search(r"KLoM|margin|oracle|null|percentile|logit|nats", text)


def test_findings_say_where_and_name_over_forgetting():
    made = document(("fine-tune",))
    made["methods"]["fine-tune"]["overshoot"] = True
    text = words_of(summary.findings(made)[0])
    assert "It differs on forgotten and new examples." in text
    assert "went past the goal" in text


@pytest.mark.parametrize("verdict", list(SIGNS))
def test_each_verdict_has_its_sentence(verdict):
    made = document(("dmm",))
    made["methods"]["dmm"]["verdict"] = verdict
    (finding,) = summary.findings(made)
    assert finding.sign is SIGNS[verdict]
    expected = {
        "supported": "behaves like a model that never saw",
        "not supported": "larger than the stated tolerance",
        "inconclusive": "does not decide",
        "no measurable trace": "neither for nor against",
        "refused": "No result is issued",
    }
    assert expected[verdict] in finding.sentence


def test_claims_are_graded_strongest_first_with_their_details():
    made = document()
    made["methods"]["dmm"] |= {"claim": "certified", "claim_detail": {"note": "convex loss"}}
    grades = [claim.grade for claim in summary.claims(made)]
    assert grades == ["exact", "certified", "approximate", "outputs only"]
    assert summary.claims(made)[1].details == ("dmm: convex loss",)


def test_reasons_of_a_withdrawn_verdict_are_replaced():
    made = unmeasured()
    assert summary.reasons(made, "fine-tune") == [
        "The metric that a verdict would rest on was not measured."
    ]
    made["methods"]["fine-tune"]["changed"] = 0.0
    assert summary.reasons(made, "fine-tune") == [
        "No weight changed, and no reason was given for that."
    ]


def test_missing_metrics_are_listed_even_where_no_reason_was_recorded():
    made = unmeasured() | {"not_measured": {}}
    assert summary.not_measured(made) == [
        f"{name}: not measured: no reason is given" for name in ("KLoM", "Distance", "Accuracy")
    ]


def test_many_duplicates_are_cut_but_counted():
    made = document(duplicates=list(range(100)))
    assert summary.duplicates(made).endswith("38, 39 and 60 more")
    assert summary.duplicates(document(duplicates=[])) == ""


def test_limits_depend_on_the_problem():
    said = " ".join(summary.limits(document(judged_on="validation")))
    assert "no separate examples for judging" in said
    assert "no separate examples" not in " ".join(summary.limits(document()))
    assert "earlier requests" in " ".join(summary.asked(document(forgotten_before=5)))


def test_next_steps_follow_the_verdicts():
    made = document()
    made["methods"]["dmm"] |= {"changed": 0.0}
    steps = " ".join(next_steps(made))
    assert "Find out why dmm changed nothing" in steps
    assert "If you adopt dm-direct" in steps
    assert "never hand out the weights" in steps
    assert "Decide on the copies" in steps
    assert "(“retrain”) is the fallback" in " ".join(next_steps(document(("fine-tune",))))
    assert "supply what the missing metric needs" in " ".join(next_steps(unmeasured()))


def test_all_grades_of_the_design_are_explained():
    claims = {claim for claim, *_ in METHODS.values()} | {"exact by shard", "certified"}
    for grade in claims:
        made = document(("dmm",))
        made["methods"]["dmm"]["claim"] = grade
        assert "not known" not in summary.claims(made)[0].meaning


PERSONS = {
    (None, None): "",
    (1, 0): "They belong to 1 person.",
    (12, None): "They belong to 12 persons.",
    (1, 1): "They belong to 1 person. That person has other examples, which were kept.",
    (12, 1): "12 persons. 1 of them has other examples, which were kept.",
    (1200, 40): "1,200 persons. 40 of them have other examples, which were kept.",
}


@pytest.mark.parametrize(("counts", "said"), PERSONS.items(), ids=str)
def test_the_request_names_the_number_of_persons(counts, said):
    made = document(persons=counts[0], persons_partly=counts[1])
    text = " ".join(summary.asked(made))
    assert said in text
    assert ("person" in text) == bool(said)
