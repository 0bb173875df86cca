"""The cost model of benchmarks/scale/run.py against real objects; its page against its result."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.scale import carried, model, recorded, scenarios, tables
from benchmarks.scale import run as scale
from expunge.api.attribution_cost import shared_cost
from expunge.attribution import registry as kinds
from expunge.curvature.ekfac import ekfac
from expunge.curvature.point import Point
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.rng import Draws, seeded
from expunge.training.from_recipe import retrain_units
from expunge.zoo.digits import build, digits
from expunge.zoo.resnet import resnet9

ROOT = Path(__file__).parents[2]


def test_a_counted_problem_has_the_prices_of_the_real_one():
    real = digits().forgetting(range(30))
    asked = model.counted(len(real.train), 30, real.recipe.epochs, real.recipe.batch_size)
    assert retrain_units(asked) == retrain_units(real)
    for name in ("dmm", "fine-tune", "retrain", "ssd", "influence"):
        assert METHODS[name]().price(asked) == METHODS[name]().price(real), name
    for named in (model.ONCE, model.COMBINED, "ek-fac:damping=0.1"):
        assert kinds.price(named, asked, 100) == kinds.price(named, real, 100), named
    # as `estimate` has it, whose damping reads no row for plain SGD
    shared = shared_cost(real, METHODS["dmm"](), 0, None)
    assert model.attribution(asked, METHODS["dmm"]()) == shared["row_units"]


def test_trainings_count_half_data_models_by_half_and_originals_with_all_rows():
    asked = model.counted(1000, 100, 2)
    assert model.trainings(asked, {"oracle": 3}) == 3 * 3 * 2 * 900
    assert model.trainings(asked, {"original": 1}) == 3 * 2 * 1000
    assert model.trainings(asked, {"subset": 5}) == 5 * 3 * 2 * 500


def test_shapes_are_those_of_the_published_networks():
    assert scenarios.resnet50().weights == 25_557_032
    assert scenarios.llama().weights == 6_738_415_616
    lora = scenarios.llama(16)
    assert (lora.weights, lora.frozen) == (2 * 32 * 2 * 16 * 4096, 6_738_415_616)


def test_bytes_of_a_shape_are_those_of_the_real_network():
    with seeded(0):
        network = resnet9()
    shape = model.Shape.of("ResNet-9", network, 10)
    real = sum(t.nbytes for t in network.state_dict().values())
    assert model.model_bytes(shape, 3) == 3 * real
    assert model.half_bytes(shape, 100, 20, 2) == 2 * (120 * 10 * 4 + 50 * 8)
    # a half-way checkpoint: the model, the average, and what the optimizer has: momentum
    with_momentum = model.Shape.of("", network, 10, states=1)
    assert model.halfway_bytes(with_momentum) == real + 2 * 4 * shape.weights


def test_curvature_takes_the_bytes_that_ekfac_holds():
    with seeded(0):
        base, network = digits(), build()
    known = ekfac(Point(base.task, base.train, network), torch.arange(8), Draws((0,)))
    held = sum(t.nbytes for b in known.blocks for t in (b.inner, b.outer, b.scales))
    assert model.curvature_bytes(model.Shape.of("", network, 10)) == held
    wide = model.Shape("", 0, 1, ((model.WIDE + 1, 10, 2),))
    assert model.curvature_bytes(wide) == 4 * 2 * 100
    assert model.cubes(wide) == 2 * 1000


def test_one_model_on_a_gpu_runs_in_rounds_and_a_spread_one_evenly():
    assert carried.lasting(10.0, 300, 128, spread=False) == 30.0
    assert carried.lasting(10.0, 300, 128, spread=True) == pytest.approx(23.4375)
    day, week = 86400.0, 7 * 86400.0
    assert carried.needed(day, 56, spread=False) == 1  # 7 rounds on 8 GPUs
    assert carried.needed(day, 57, spread=False) == 2
    assert carried.needed(8 * day, 1, spread=False) is None
    assert carried.needed(week, 9, spread=True) == 2


def test_seconds_are_those_of_the_rate():
    rates = scenarios.RATES
    low, high = scenarios.IMAGENET.seconds(3 * 1_281_167 * 90, rates)
    assert low == pytest.approx(8.75 * 3600)  # as published, for one GPU
    assert high > low
    text = scenarios.BILLION
    assert text.seconds(3.0, rates).high == pytest.approx(512 / 3684)


def test_measured_rates_take_the_place_of_published_ones(tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text('{"7B, tokens": [9000, 9100]}')
    rates = scenarios.measured_rates(path)
    assert rates["7B, tokens"].span == (9000, 9100)
    assert rates["7B, tokens"].measured
    assert not rates["1.3B, tokens"].measured
    assert scale.described(rates["7B, tokens"])["measured by us"]
    assert "by us" in tables.rates({"a": scale.described(rates["7B, tokens"])})
    assert scenarios.measured_rates(None) is scenarios.RATES


@pytest.mark.parametrize(
    "text", ["[1]", '{"7B, tokens": 3}', '{"7B": [1, 2]}', '{"7B, tokens": [2, 1]}', "{"]
)
def test_a_file_of_rates_that_cannot_be_read_is_refused(tmp_path, text):
    path = tmp_path / "gpu.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"gpu\.json") as error:
        scenarios.measured_rates(path)
    assert "JSON like" in str(error.value)


def test_methods_are_told_apart_by_what_they_spend_time_on():
    assert recorded.kind_of("dmm", {}) == "matching"
    assert recorded.kind_of("influence", {"curvature": "fisher"}) == "gradients row by row"
    assert recorded.kind_of("influence", {"curvature": "gauss-newton"}) == "curvature by products"
    assert recorded.kind_of("scrub", {}) == "passes over rows"


def test_a_run_is_predicted_from_its_own_retrainings():
    def cell(method, units, seconds):
        return {
            "method": method,
            "settings": {},
            "cost": {"row_units": units, "seconds": seconds},
        }

    named = [{"label": n, "name": n, "fixed": {}} for n in ("retrain", "fine-tune", "ssd")]
    cells = [cell("retrain", 6000, 6.0), cell("fine-tune", 2000, 1.0), cell("ssd", 10, 9.0)]
    content = {"config": {"candidates": named}, "cells": cells}
    (check,) = recorded.within("run", content)  # ssd reads too few rows to tell
    assert check.ratio == pytest.approx(2.0)
    assert (check.kind, check.what) == ("passes over rows", "run: fine-tune")


def test_times_and_bytes_are_said_in_units_that_suit():
    assert tables.took(3600.0, 7200.0) == "1–2 h"
    assert tables.took(90.0, 90.0) == "1.5 min"
    assert tables.took(1.0, 400 * 86400.0) == "3.2e-08–1.1 years"
    assert tables.amount(5.3e12) == "5.3 TB"
    assert tables.amount(12.0) == "12 B"


def test_the_page_holds_the_tables_of_the_result_file():
    page = (ROOT / "docs/scale.md").read_text()
    content = json.loads((ROOT / "benchmarks/results/scale.json").read_text())
    names = [found[2] for found in tables.PLACE.finditer(page)]
    assert sorted(names) == sorted(tables.tables(content))
    assert tables.filled(page, content) == page, "run python -m benchmarks.scale.run --plot"
