"""What a method's needs cost beside it, by hand from the recipe's passes."""

import pytest

from expunge.api.attribution_cost import half_units, shared_cost
from expunge.attribution.registry import price
from expunge.contract.problems import tiny
from expunge.engine.cost import Cost
from expunge.methods import METHODS

HALF = 3 * 20 * 28  # epochs, and half of 57 rows that are present


@pytest.fixture
def problem():
    return tiny(epochs=20, forget=()).without([3, 7, 11]).forgetting([1, 2, 5])


def units(problem, named: str, half_models: int = 40, one: Cost | None = None) -> tuple[str, int]:
    found = shared_cost(problem, METHODS["dmm"](attribution=named, steps=4), half_models, one)
    return found["what"], found["row_units"]


def test_half_of_the_rows_that_are_present(problem):
    """Those to be forgotten are among them."""
    assert half_units(problem) == HALF


def test_half_data_models_are_counted_and_priced_one_by_one(problem):
    assert units(problem, "datamodels") == ("40 half-data models", 40 * HALF)
    assert units(problem, "datamodels:models=25") == ("25 half-data models", 25 * HALF)
    assert units(problem, "ridge", one=Cost(3, 2)) == ("40 half-data models", 40 * 7)


def test_what_reads_the_model_itself_is_added(problem):
    """Of 54 retained rows four steps visit each, and of the three forgotten ones too."""
    for named in ("linearised", "trak"):
        what, found = units(problem, named)
        assert what == f"{named} attribution of this forget set"
        assert found == price(named, problem, 57).row_units
    both = price("combined", problem, 57).row_units
    assert units(problem, "combined:models=25") == ("25 half-data models", 25 * HALF + both)


@pytest.mark.parametrize("named", ["combined", "combined:models=25"])
def test_half_data_models_that_are_there_are_not_paid_again(problem, named):
    _, found = units(problem, named, half_models=0)
    assert found == price("combined", problem, 57).row_units


@pytest.mark.parametrize(
    ("method", "lasting"),
    [
        (METHODS["dmm"](attribution="datamodels", steps=1), True),
        (METHODS["dmm"](attribution="combined", steps=1), True),
        (METHODS["dmm"](attribution="linearised", steps=1), False),
        (METHODS["oracle-matching"](steps=1), False),
    ],
)
def test_only_half_data_models_serve_later_requests(problem, method, lasting):
    assert (shared_cost(problem, method, 40, None)["requests_to_pay"] is not None) == lasting


def test_a_method_that_needs_nothing_shares_nothing(problem):
    assert shared_cost(problem, METHODS["fine-tune"](), 40, None) is None
