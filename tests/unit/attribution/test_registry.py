"""Kinds of attribution by name: which there are, their settings, and what they are made from."""

import re

import pytest
import torch

from expunge.attribution import (
    ATTRIBUTIONS,
    Datamodels,
    Difference,
    HalfDataModels,
    Linearised,
    Ridge,
)
from expunge.attribution import half_data_models as blocks
from expunge.attribution.registry import attributor, damped, from_halves, from_models, whole_table
from expunge.attribution.size_correction import SizeCorrection
from expunge.contract.problems import ROWS, mlp, tiny
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.rng import seeded

read = ATTRIBUTIONS.read
HALVES = HalfDataModels([], torch.ones(ROWS, dtype=torch.bool))


def defaults(kind: str) -> dict:
    return {s.name: s.default for s in ATTRIBUTIONS.settings(kind)}


def made(named: str, halves: HalfDataModels | None = HALVES):
    problem = tiny()
    with seeded(0):
        models = Ensemble.of(mlp())
    return attributor(named, problem, models, halves, seed=3)


# ---- names


def test_every_kind_can_be_named_and_made():
    for kind in ATTRIBUTIONS:
        assert read(kind) == (kind, {})
        assert made(kind).name == kind
        assert from_models(kind) == hasattr(ATTRIBUTIONS[kind], "price")
        assert all(s.what for s in ATTRIBUTIONS.settings(kind))


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("linearised:seed=1", "no setting 'seed'"),
        ("linearised:problem=1", "no setting 'problem'"),
        ("linearised:_found=1", "no setting '_found'"),
        ("ridge:strength=1", "no setting 'strength'. Expected: one of models."),
        ("influence:models=5", "no setting 'models'"),
        (
            "ridge:models=many",
            "attribution ridge with models = 'many'. Expected: models of at least",
        ),
        ("combined:halves=1", "no setting 'halves'"),
        ("linearised:damping=-1", "Expected: damping above 0, or none"),
        ("linearised:damping=inf", "Expected: damping above 0, or none"),
        ("trak:damping=-1", "Expected: damping of at least 0, or none"),
        ("datamodels:size=0", "Expected: size above 0"),
        ("datamodels:size=nan", "Expected: size above 0"),
        ("datamodels:shuffles=-1", "Expected: shuffles of at least 0"),
        ("linearised:curvature=some", "Expected: one of retained, all"),
    ],
)
def test_settings_that_are_unknown_or_not_allowed_are_refused(named, told):
    with pytest.raises(BadInput, match=re.escape(told)):
        read(named)


def test_settings_and_their_defaults():
    linearised = {"damping": None, "samples": 2000, "iterations": 2, "rounds": 1}
    linearised["curvature"] = "retained"
    halves = {"models": 0, "shuffles": 16, "size": None}
    assert defaults("linearised") == linearised
    assert defaults("influence") == {**linearised, "curvature": "all"}
    assert defaults("ek-fac") == {**linearised, "iterations": 0}
    for kind in ("difference", "lasso", "ridge"):
        assert defaults(kind) == {"models": 0}
    assert defaults("datamodels") == halves
    assert defaults("combined") == linearised | halves
    assert defaults("trak") == {
        **{"dimension": 2048, "damping": None, "weighted": True, "retained": True}
    }


def test_what_is_measured_for_a_whole_table_is_cheap_and_damping_follows_the_recipe():
    cheap = ["datamodels", "difference", "ridge"]
    assert [kind for kind in ATTRIBUTIONS if whole_table(kind)] == cheap
    implied = ["linearised", "influence", "ek-fac", "combined"]
    assert [kind for kind in ATTRIBUTIONS if damped(kind)] == implied
    assert not damped("combined:damping=0.1")
    assert damped("linearised:damping=none")


# ---- what they are made from


def test_half_data_models_or_the_models_themselves_or_both():
    assert [kind for kind in ATTRIBUTIONS if from_halves(kind) and from_models(kind)] == [
        "combined"
    ]
    assert {kind for kind in ATTRIBUTIONS if not from_halves(kind)} >= {
        "linearised",
        "influence",
        "ek-fac",
    }
    assert {kind for kind in ATTRIBUTIONS if not from_models(kind)} == {
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
