"""What tracking makes of rates and of eigenvalues."""

import pytest
import torch

from expunge.api.tracking import mean_rates, with_forms
from expunge.contract.problems import tiny
from expunge.problem.recipe import linear
from expunge.training.unrolled.history import History


def test_an_eigenvalue_below_zero_counts_by_its_size():
    measurements = [{"steps": 2, "distance": 1.0, "eigenvalue": v} for v in (-3.0, 1.0)]
    found = with_forms(measurements, torch.full((4,), 0.5))
    assert [one["sigma"] for one in found] == [3.0, 2.0]
    assert [one["eigenvalue"] for one in found] == [-3.0, 1.0]
    assert found[0]["strict"] == pytest.approx(0.5 * 1 / 2 * 3.0 * 1.0)


def test_what_else_a_look_says_stays():
    (found,) = with_forms(
        [{"steps": 1, "distance": 1.0, "eigenvalue": 1.0, "accuracy": 7}], torch.ones(3)
    )
    assert found["accuracy"] == 7
    assert looks_of(found) == {"steps": 1, "distance": 1.0, "eigenvalue": 1.0}


def looks_of(found):
    return {name: found[name] for name in ("steps", "distance", "eigenvalue")}


def test_rates_of_parameters_are_averaged_and_follow_the_schedule():
    def optimizer(named):
        (first, *others) = [p for _, p in named]
        return torch.optim.SGD([{"params": [first], "lr": 0.5}, {"params": others}], lr=0.1)

    told = History(tiny(optimizer=optimizer, schedule=linear), (0,), 0)
    wanted = [0.2 * (1 - step / 9) for step in range(9)]  # (0.5 + 3 x 0.1) / 4
    assert mean_rates(told, told.start()).tolist() == pytest.approx(wanted)
