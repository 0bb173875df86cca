"""What a linearised prediction reads is what its price says, counted on the data and the model."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.attribution import Linearised
from expunge.attribution.two_sizes import TwoSizes
from expunge.contract.counting import Counting, Passes
from expunge.contract.problems import mlp64, tiny64
from expunge.ensemble import Ensemble
from expunge.rng import seeded

FORGET = torch.tensor([3, 7, 11, 19])


@pytest.mark.parametrize("samples", [5, 2000])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"iterations": 0},
        {"iterations": 5},
        {"rounds": 3},
        {"curvature": "all"},
        {"damping": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_the_price_is_what_is_read(optimizer, settings, samples):
    problem = tiny64(optimizer=partial(optimizer, lr=0.01)).forgetting(FORGET)
    data = Counting(problem.train.inputs, problem.train.targets)
    problem = replace(problem, train=data)
    with seeded(0):
        own = Ensemble.of(Passes())
    attribution = Linearised(problem, own, samples=samples, **settings)
    Passes.rows = 0
    attribution.without(FORGET, torch.arange(9))
    price = attribution.price(9)

    sample = min(samples, 28)  # half of 56 retained rows
    again = attribution.rounds - 1
    products = attribution.rounds * attribution.iterations * sample
    pulls = (1 + again) * 4 + again * sample
    sized = 60 if optimizer is torch.optim.Adam and "damping" not in settings else 0
    assert data.read == 1 + 2 * sample + pulls + products + sized + 2 * 9
    tangents = 2 * products + 2 * 9  # each as much as two rows forward
    assert price.forward_rows == Passes.rows + tangents
    assert price.backward_rows == 2 * sample + pulls + products + sized
    assert price.seconds == 0.0


def test_the_price_of_two_sizes_is_what_all_parts_read():
    problem = tiny64().forgetting(FORGET)
    data = Counting(problem.train.inputs, problem.train.targets)
    problem = replace(problem, train=data)
    with seeded(0):
        own = Ensemble.of(Passes())
    attribution, rows = TwoSizes(problem, own), torch.arange(9)
    Passes.rows = 0
    attribution.sizes(FORGET, {"train": rows})
    price, alone = attribution.price(9), Linearised(problem, own).price(9)
    assert price.row_units == alone.row_units + 2 * 6 * (2 * 28 + 4) + 3 * (60 + 4) + 6 * 9
    assert data.read == 1 + 8 * 28 + 2 * 4 + 2 * 4 + 60 + 4 * 9
    tangents = 2 * (6 * 28 + 2 * 4) + 3 * 2 * 9
    assert price.forward_rows == Passes.rows + tangents


def test_a_second_look_at_the_same_forget_set_reads_only_what_is_asked():
    problem = tiny64()
    data = Counting(problem.train.inputs, problem.train.targets)
    with seeded(0):
        own = Ensemble.of(mlp64())
    attribution = Linearised(replace(problem, train=data), own)
    attribution.without(FORGET, torch.arange(9))
    before = data.read
    attribution.without(FORGET, torch.arange(5))
    assert data.read == before + 2 * 5
