"""What a linearised prediction reads is what its price says, counted on the data and the model."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.attribution import HalfDataModels, Linearised, combined
from expunge.attribution import registry as kinds
from expunge.attribution import split_half as repeats
from expunge.attribution.half_data_models import ROWS
from expunge.attribution.registry import attributor
from expunge.attribution.size_correction import SizeCorrection
from expunge.contract.counting import Counting, Passes
from expunge.contract.problems import CLASSES, mlp64, tiny64
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
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
    assert data.read == 1 + attribution.reads() + 2 * 9
    assert price.seconds == 0.0


@pytest.mark.parametrize("settings", [{}, {"iterations": 5}, {"rounds": 3}, {"damping": 0.1}])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_the_price_of_two_sizes_is_what_all_parts_read(optimizer, settings):
    """Of 58 rows; half a training of Adam has its gradients measured on 29 of them."""
    problem = tiny64(optimizer=partial(optimizer, lr=0.01)).without(torch.tensor([0, 59]))
    problem = problem.forgetting(FORGET)
    data = Counting(problem.train.inputs, problem.train.targets)
    problem = replace(problem, train=data)
    with seeded(0):
        own = Ensemble.of(Passes())
    attribution, rows = SizeCorrection(problem, own, **settings), torch.arange(1, 10)
    Passes.rows = 0
    attribution.sizes(FORGET, {"train": rows})
    price, alone = attribution.price(9), Linearised(problem, own, **settings).price(9)
    assert attribution._sampled(problem) == 27

    half = 29 if optimizer is torch.optim.Adam and "damping" not in settings else 0
    products = attribution.iterations * (2 * 27 + 4)
    assert price.row_units == alone.row_units + 6 * products + 3 * (58 + 4) + 3 * half + 6 * 9
    first = attribution.rounds * attribution.iterations * 27
    pulls = attribution.rounds * 4 + (attribution.rounds - 1) * 27
    sized = 3 * half  # 58 and 29
    assert data.read == 1 + 2 * 27 + pulls + first + sized + products + 58 + 4 + 4 * 9
    assert data.read == 1 + attribution.reads() + 4 * 9
    assert price.forward_rows == Passes.rows + 2 * (first + products) + 3 * 2 * 9


@pytest.mark.parametrize(
    ("named", "settings"),
    [
        ("combined", {}),
        ("combined:models=15", {}),
        ("combined:rounds=2,samples=9", {"rounds": 2, "samples": 9}),
    ],
)
@pytest.mark.parametrize("probed", [20, 500])
def test_the_price_of_combined_counts_what_trust_is_measured_on(
    named, settings, probed, monkeypatch
):
    """The forgotten rows, and of the 54 others that are present as many as are probed."""
    monkeypatch.setattr(combined, "PROBED", probed)
    monkeypatch.setattr(repeats, "PROBED", probed)
    problem = tiny64().without(torch.tensor([0, 59])).forgetting(FORGET)
    data = Counting(problem.train.inputs, problem.train.targets)
    problem = replace(problem, train=data)
    with seeded(0):
        own, drawn = Ensemble.of(mlp64()), [torch.randperm(60)[:30] for _ in range(20)]
    blocks = [{ROWS: torch.stack(drawn), "train": torch.zeros(20, 60, CLASSES)}]
    halves = HalfDataModels(blocks, torch.ones(60, dtype=torch.bool), centred=True)
    solved = SizeCorrection(problem, own, **settings).price(0)
    for asked in (torch.arange(1, 10), torch.arange(1, 2)):
        data.read, rows = 0, len(asked) + len(FORGET) + min(probed, 54)
        attributor(named, problem, own, halves, seed=0).without(FORGET, asked)
        assert data.read == 1 + solved.backward_rows + 4 * rows
        assert kinds.price(named, problem, len(asked)) == solved + Cost(10 * rows)


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
