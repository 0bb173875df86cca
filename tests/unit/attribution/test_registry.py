"""Kinds of attribution by name: which there are, their settings, and what they are made from."""

import re

import pytest
import torch

from expunge.attribution import KINDS, Datamodels, Difference, HalfDataModels, Linearised, Ridge
from expunge.attribution import half_data_models as blocks
from expunge.attribution.registry import attributor, from_halves, from_models, parse, settings_of
from expunge.attribution.size_correction import SizeCorrection
from expunge.contract.problems import ROWS, mlp, tiny
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.rng import seeded

HALVES = HalfDataModels([], torch.ones(ROWS, dtype=torch.bool))


def made(named: str, halves: HalfDataModels | None = HALVES):
    problem = tiny()
    with seeded(0):
        models = Ensemble.of(mlp())
    return attributor(named, problem, models, halves, seed=3)


# ---- names


def test_a_name_alone_and_a_name_with_settings():
    assert parse("linearised") == ("linearised", {})
    assert parse("linearised:damping=0.01,samples=500") == (
        "linearised",
        {"damping": 0.01, "samples": 500},
    )
    kind, chosen = parse("ek-fac:rounds=2,damping=1")
    assert (kind, chosen) == ("ek-fac", {"rounds": 2, "damping": 1.0})
    assert isinstance(chosen["rounds"], int)
    assert isinstance(chosen["damping"], float)
    assert parse("datamodels") == ("datamodels", {})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_named_and_made(kind):
    assert parse(kind) == (kind, {})
    assert made(kind) is not None
    assert KINDS[kind]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("linearized", "unknown attribution 'linearized' (did you mean 'linearised'?)"),
        ("", "unknown attribution ''"),
        ("linearised:dampin=1", "no setting 'dampin' (did you mean 'damping'?)"),
        ("linearised:seed=1", "no setting 'seed'"),
        ("linearised:curvature=all", "no setting 'curvature'"),
        ("linearised:_last=1", "no setting '_last'"),
        ("linearised:damping=0.1,", "no setting ''"),
        (
            "linearised:samples=5,samples=6",
            "setting 'samples' of attribution 'linearised' is",
        ),
        (
            "ridge:strength=1",
            "no setting 'strength'. Expected: one of models. Fix: write e.g. ridge",
        ),
        ("influence:models=5", "no setting 'models'"),
        ("ridge:models=many", "models=many of attribution 'ridge'. Expected: a whole number"),
        ("combined:halves=1", "no setting 'halves'"),
        ("linearised:damping=high", "damping=high of attribution 'linearised'. Expected: a number"),
        ("linearised:damping=", "damping= of attribution 'linearised'. Expected: a number"),
        ("influence:samples=2.5", "samples=2.5 of attribution 'influence'. Expected: a whole"),
    ],
)
def test_names_and_settings_that_are_unknown_are_refused_with_the_nearest(named, told):
    with pytest.raises(BadInput, match=re.escape(told)):
        parse(named)


def test_an_unknown_name_is_told_all_that_there_are():
    with pytest.raises(BadInput, match=re.escape(", ".join(KINDS))):
        parse("shapley")


def test_settings_are_the_numbers_of_a_kind_with_their_defaults():
    names = ("damping", "samples", "iterations", "rounds")
    common = {name: getattr(Linearised, name) for name in names}
    for kind in ("linearised", "influence"):
        assert settings_of(kind) == common
    assert settings_of("ek-fac") == {**common, "iterations": 0}
    for kind in ("difference", "lasso", "ridge"):
        assert settings_of(kind) == {"models": 0}
    assert settings_of("datamodels") == {"models": 0, "shuffles": 16, "size": None}
    assert settings_of("combined") == {**common, "models": 0}


# ---- what they are made from


def test_half_data_models_or_the_models_themselves_or_both():
    assert [kind for kind in KINDS if from_halves(kind) and from_models(kind)] == ["combined"]
    assert {kind for kind in KINDS if not from_halves(kind)} >= {
        "linearised",
        "influence",
        "ek-fac",
    }
    assert {kind for kind in KINDS if not from_models(kind)} == {
        "datamodels",
        "difference",
        "lasso",
        "ridge",
    }
    assert from_models("linearised:damping=0.1")
    assert not from_halves("linearised:damping=0.1")


def test_each_name_makes_what_it_says():
    own = made("linearised:damping=0.5,samples=7")
    assert (own.damping, own.samples, own.rounds, own.curvature) == (0.5, 7, 1, "retained")
    assert own.iterations == Linearised.iterations
    assert own.seed == 3
    assert isinstance(own, Linearised)
    assert made("influence").curvature == "all"
    assert made("influence").iterations == Linearised.iterations
    assert made("ek-fac").iterations == 0
    assert made("ek-fac:iterations=2").iterations == 2
    for kind, made_by in (("difference", Difference), ("ridge", Ridge), ("datamodels", Datamodels)):
        found = attributor(kind, tiny(), None, HALVES, seed=0)
        assert isinstance(found, made_by)
        assert found.halves.blocks is HALVES.blocks
    assert attributor("datamodels", tiny(), None, HALVES, seed=0).base is None


@pytest.mark.parametrize("kind", ["datamodels", "difference", "ridge", "combined"])
def test_fewer_half_data_models_may_be_named(kind):
    rows = torch.arange(12).reshape(6, 2)
    present = torch.ones(ROWS, dtype=torch.bool)
    halves = HalfDataModels([{blocks.ROWS: rows[:4]}, {blocks.ROWS: rows[4:]}], present)
    assert torch.equal(made(f"{kind}:models=5", halves).halves.rows, rows[:5])
    assert torch.equal(made(f"{kind}:models=0", halves).halves.rows, rows)
    with pytest.raises(BadInput, match="from 7 half-data models, where there are 6"):
        made(f"{kind}:models=7", halves)


def test_combined_is_datamodels_around_linearised():
    found = made("combined:rounds=2")
    assert isinstance(found, Datamodels)
    assert found.halves.blocks is HALVES.blocks
    assert isinstance(found.base, SizeCorrection)
    assert (found.base.rounds, found.base.seed) == (2, 3)
    assert made("linearised", halves=None).rounds == 1


def test_settings_that_mean_nothing_are_refused_when_it_is_made():
    for wrong in ("-1", "inf"):
        with pytest.raises(BadInput, match=f"linearised with damping={wrong}.*finite damping"):
            made(f"linearised:damping={wrong}")
    for wrong in ("size=0", "size=-1", "size=nan", "size=inf", "shuffles=-1"):
        with pytest.raises(BadInput, match="datamodels with shuffles=.*a finite size above 0"):
            made(f"datamodels:{wrong}")
    assert made("datamodels:size=0.8,shuffles=0").size == 0.8


@pytest.mark.parametrize("kind", ["datamodels", "combined"])
def test_rows_forgotten_earlier_are_no_part_of_what_trust_is_measured_on(kind):
    rows = torch.arange(12).reshape(4, 3)
    halves = HalfDataModels([{blocks.ROWS: rows}], torch.arange(ROWS) > 0)
    problem = tiny().without(torch.tensor([7, 8]))
    with seeded(0):
        found = attributor(kind, problem, Ensemble.of(mlp()), halves, seed=0)
    expected = [k for k in range(ROWS) if k not in (0, 7, 8)]
    assert found.halves.present.nonzero().squeeze(-1).tolist() == expected
    assert halves.present.sum() == ROWS - 1
