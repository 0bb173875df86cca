"""Sheets of the report: the price of a request, and from which request preparation pays."""

import pytest

from expunge.report.sheets import cost_sheet

from .documents import document


def pays(changed):
    made = document(["dmm"])
    made["methods"]["dmm"] |= changed
    (row,) = cost_sheet(made).rows
    return row[-1].text


PREPARED = {"what": "an attribution", "row_units": 1.0}


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        (None, ""),
        ({"relative_to_retrain": 0.3, "requests_to_pay": None}, "1"),  # cheaper at once
        ({"relative_to_retrain": 0.3, "requests_to_pay": 1}, "1"),
        ({"relative_to_retrain": 0.9, "requests_to_pay": None}, "never"),
        ({"relative_to_retrain": None, "requests_to_pay": None}, "not measured"),
        ({"relative_to_retrain": 900.0, "requests_to_pay": 1125}, "1,125"),
    ],
)
def test_preparation_pays_from_the_request_at_which_it_is_cheaper_than_retraining(shared, told):
    assert pays({"shared_cost": shared and {**PREPARED, **shared}}) == told
