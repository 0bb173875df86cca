from expunge.report.choice import choice

from .documents import document, single


def test_one_method_has_its_cost():
    assert choice(single()) == ["It cost about 20% of training the model again from scratch."]


def test_compared_methods_are_named_with_the_cheapest_supported():
    said = " ".join(choice(document()))
    assert "supported by the evidence are retrain, oracle-matching and dm-direct" in said
    assert "the cheapest of them is dm-direct" in said
    assert "The cheapest supported method that changes the model is oracle-matching" in said


def test_no_support_is_said():
    said = " ".join(choice(document(("fine-tune", "random-label"))))
    assert "None of the methods compared is supported" in said


def test_retraining_that_would_have_been_cheaper_is_said():
    made = document(("fine-tune",))
    made["methods"]["fine-tune"]["cost"]["relative_to_retrain"] = 1.0
    assert "again from scratch would have been cheaper, or cost the same" in choice(made)[0]
    made = document(("retrain", "fine-tune"))
    made["methods"]["fine-tune"]["cost"]["relative_to_retrain"] = 1.3
    assert "would have been cheaper than fine-tune" in " ".join(choice(made))


def test_preparation_counts_when_comparing_with_retraining():
    said = choice(document(("dmm",)))[0]
    assert "1,000 half-data models" in said
    assert "cheaper, or costs the same, until 501 requests share them" in said
    assert "for any number of requests" in choice(document(("oracle-matching",)))[0]


def test_retraining_is_not_compared_with_itself():
    assert "cheaper" not in " ".join(choice(document(("retrain",))))


def test_unknown_cost_is_not_measured():
    made = document(("fine-tune",))
    made["methods"]["fine-tune"]["cost"] = None
    assert choice(made) == ["What fine-tune cost was not measured."]
