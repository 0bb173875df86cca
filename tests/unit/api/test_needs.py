"""Which costly things methods need, and what the problem must have for them."""

from dataclasses import replace

import pytest
from torch import nn

from expunge.api.needs import Needs, attribution_name, from_file
from expunge.attribution.fit import fit
from expunge.attribution.registry import ATTRIBUTIONS, whole_table
from expunge.contract.problems import tiny
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.training.model_cache import ModelCache

FINE, TEACHERS, RETRAIN = METHODS["fine-tune"](), METHODS["oracle-matching"](), METHODS["retrain"]()


def dmm(named: str):
    return METHODS["dmm"](attribution=named)


def trainer(data, rows, *, seed, device):
    return nn.Linear(6, 3)


# ---- what is needed


@pytest.mark.parametrize(
    ("methods", "teachers", "halves"),
    [
        ([FINE], False, False),
        ([FINE, TEACHERS], True, False),
        ([dmm("linearised"), dmm("ridge:models=9")], False, True),
        ([dmm("combined"), TEACHERS], True, True),
        ([METHODS["dm-direct"](attribution="trak")], False, False),
        ([], False, False),
    ],
)
def test_one_method_that_needs_them_is_enough(methods, teachers, halves):
    assert Needs.of(tiny(), iter(methods)) == Needs(teachers, halves)


def test_models_to_be_trained_by_role(runtime):
    """Half-data models that are there already are not made again."""
    cache = ModelCache(tiny(epochs=1), replace(runtime, group=5))
    assert Needs(False, False).counts(cache, 7, 20) == {}
    assert Needs(True, True).counts(cache, 7, 20) == {"teacher": 7, "subset": 20}
    fit(cache, 20)
    assert Needs(True, True).counts(cache, 7, 20) == {"teacher": 7}
    assert Needs(False, True).counts(cache, 7, 25) == {"subset": 25}


def test_the_change_of_all_rows_is_made_at_once_where_it_is_one_for_all_models_and_cheap():
    assert {kind for kind in ATTRIBUTIONS if whole_table(kind)} == {
        "datamodels",
        "difference",
        "ridge",
    }


# ---- what the problem must have


@pytest.mark.parametrize("recipe", [None, trainer])
def test_what_reads_the_model_alone_needs_no_recipe_unless_for_the_damping(recipe):
    problem = replace(tiny(), recipe=recipe)
    for named in ("trak", "linearised:damping=0.1", "influence:samples=5,damping=1"):
        assert Needs.of(problem, [dmm(named), FINE]) == Needs(False, False)
    for named in ("linearised", "ek-fac:samples=5"):
        with pytest.raises(BadInput, match="without a Recipe, from which the damping follows"):
            Needs.of(problem, [FINE, dmm(named)])


def test_what_is_made_of_other_models_needs_a_recipe_or_a_trainer():
    bare, trained = (replace(tiny(), recipe=recipe) for recipe in (None, trainer))
    for method in (TEACHERS, RETRAIN, dmm("datamodels"), dmm("combined:damping=1")):
        with pytest.raises(BadInput, match=f"no recipe, which is needed to run {method.name}"):
            Needs.of(bare, [FINE, method])
        Needs.of(trained, [FINE, method])
    with pytest.raises(BadInput, match="without a Recipe, from which the damping follows"):
        Needs.of(trained, [dmm("combined")])


# ---- names


def test_a_method_that_needs_no_change_has_no_attribution(runtime):
    assert attribution_name(FINE) == ""
    assert attribution_name(dmm("ridge:models=9")) == "ridge:models=9"
    cache = ModelCache(tiny(), runtime)
    assert from_file(FINE, cache) == (FINE, None)


def test_a_file_called_as_a_kind_is_not_taken_for_one(runtime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for named in ("ridge", "ridge:models=9"):
        (tmp_path / named).write_text("")
        assert from_file(dmm(named), ModelCache(tiny(), runtime)) == (dmm(named), None)
    (tmp_path / "mine").write_text("")
    with pytest.raises(BadInput, match="mine is no attribution"):
        from_file(dmm("mine"), ModelCache(tiny(), runtime))
