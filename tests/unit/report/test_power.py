import pytest

from expunge.report.power import power

from .documents import document, single, unmeasured


def test_what_klom_finds_with_a_hundred_models():
    found = power(document(), "retrain")
    assert [one.group for one in found] == ["forget", "retain", "test"]
    assert found[0].found_from == pytest.approx(1.66 + 0.12)
    # 100 models: a shift of half an sd reads about 1.0 at the 95th percentile, of one sd 2.0
    assert 0.5 < found[0].shift < 1.0


def test_narrower_intervals_find_smaller_leaks():
    blurred = document()
    blurred["methods"]["retrain"]["klom"]["forget"]["interval"] = [-1.0, 2.4]
    assert power(blurred, "retrain")[0].shift > power(document(), "retrain")[0].shift


def test_what_no_shift_reaches_is_none():
    blurred = document()
    blurred["methods"]["retrain"]["klom"]["forget"]["interval"] = [-11.0, 12.0]
    assert power(blurred, "retrain")[0].shift is None


def test_what_a_single_model_finds():
    found = power(single(), "dmm")[0]
    assert found.found_from == pytest.approx(1.1 + 0.7 + 0.12)
    assert found.shift == pytest.approx((1.92**2 - 1.1**2) ** 0.5)


def test_nothing_is_said_of_what_was_not_measured():
    assert power(unmeasured(), "fine-tune") == []
