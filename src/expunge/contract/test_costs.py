"""What a method says it will read is what it reads, counted on the data itself."""

from dataclasses import replace

import pytest

from expunge.contract.cases import inputs, originals, run, short
from expunge.contract.counting import Counting
from expunge.contract.laws import law
from expunge.contract.problems import ROWS, batchnorm, tiny
from expunge.methods import METHODS
from expunge.training.from_recipe import retrain_units

SIZES = {
    "as they come": {},
    "batches larger than the data": {
        "batch_size": 1000,
        "forget_batch_size": 1000,
        "retain_batch_size": 1000,
    },
    "batches that do not divide": {
        "batch_size": 7,
        "forget_batch_size": 5,
        "retain_batch_size": 11,
        "epochs": 3,
        "steps": 2,
    },
    "one row at a time": {
        "batch_size": 1,
        "forget_batch_size": 1,
        "retain_batch_size": 1,
        "epochs": 1,
    },
}


@law("price")
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("build", [None, batchnorm], ids=["mlp", "batchnorm"])
def test_the_price_is_what_is_paid(kind, sizes, build):
    if build and sizes.get("batch_size") == 1:
        pytest.skip("batch norm cannot train on one row")
    problem = tiny(build) if build else tiny()
    models = originals(problem, 1)
    cost = run(problem, kind, models, **sizes).cost
    price = short(kind, **sizes).price(problem)
    assert (price.forward_rows, price.backward_rows) == (cost.forward_rows, cost.backward_rows)
    assert price.seconds == 0.0
    assert cost.seconds > 0 or not cost.row_units


@law("one forward a row read")
def test_the_cost_is_what_the_data_gave_out(kind, problem):
    """Rows forward include a model's own targets; each member is charged for its own rows only."""
    models, passed = originals(problem, 1), inputs(problem, kind, 1)
    counted = replace(problem, train=Counting(problem.train.inputs, problem.train.targets))
    cost = short(kind)(counted, models, passed, seed=0).cost
    assert cost.forward_rows == counted.train.read


@law("price")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_cost_of_one_model_does_not_depend_on_the_others(kind, count, problem):
    alone = run(problem, kind, originals(problem, 1)).cost
    together = run(problem, kind, originals(problem, count, group=2)).cost
    assert together.row_units == alone.row_units


def test_one_retraining_is_the_unit(problem):
    """3 x epochs x |R|; what is read is a little less, as an epoch is whole batches only."""
    retained = ROWS - len(problem.forget)
    assert retrain_units(problem) == 3 * 3 * retained
    whole = replace(problem, recipe=replace(problem.recipe, batch_size=retained))
    all_read, part = (
        run(p, METHODS["retrain"], originals(p, 1)).cost.row_units for p in (whole, problem)
    )
    assert all_read == retrain_units(whole)
    assert part == 3 * 3 * (retained // 16 * 16)
