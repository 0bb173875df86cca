"""Predictions of one request: what each is made from, what is made once, and what is kept."""

from dataclasses import replace

import pytest
import torch

from expunge.api import predictions
from expunge.api.predictions import Predictions
from expunge.attribution import HalfDataModels
from expunge.attribution.fit import Fit
from expunge.attribution.half_data_models import ROWS
from expunge.attribution.registry import ATTRIBUTIONS, attributor
from expunge.contract.problems import CLASSES, Fused, generator, mlp, tiny, with_nan
from expunge.curvature.leave_out import LeaveOut
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.registry import Setting
from expunge.rng import seeded

MODELS = 40
ROWS_ASKED = torch.tensor([12, 3, 50])


def fitted(seed: int = 0, problem=None) -> Fit:
    """Half-data models of the tiny problem that were never trained: any outputs will do."""
    g = generator(seed)
    problem = problem or tiny()
    rows = [torch.randperm(60, generator=g)[:30].sort().values for _ in range(MODELS)]
    block = {ROWS: torch.stack(rows)}
    for split, data in problem.splits.items():
        block[split] = torch.randn(MODELS, len(data), CLASSES, generator=g)
    halves = HalfDataModels([block], torch.ones(60, dtype=torch.bool), centred=True)
    return Fit(halves, MODELS, Cost(), True)


def models(count: int = 2, build=mlp) -> Ensemble:
    with seeded(0):
        return Ensemble.stack([build() for _ in range(count)], range(5, 5 + count), group=1)


def made(named: str, problem=None, fit: Fit | None = None, seed: int = 0) -> predictions.Prediction:
    found = Predictions(problem or tiny(), fit or fitted(), seed).of(
        METHODS["dmm"](attribution=named)
    )
    assert found is not None
    return found


def said(named: str, *keep, seed: int = 0, problem=None, own: Ensemble | None = None):
    """The means of rows of two splits."""
    told = made(named, problem, seed=seed).on(own or models(), keep or None)
    return torch.cat([told(split, ROWS_ASKED % 24).mean for split in ("train", "test")], dim=-2)


# ---- what each is made from


@pytest.mark.parametrize("named", ["linearised", "trak", "combined", "combined:models=30"])
def test_a_prediction_is_its_attributors(named):
    problem, own = tiny(), models()
    direct = attributor(named, problem, own, fitted().halves, seed=4)
    expected = [
        direct.without(problem.forget, ROWS_ASKED % 24, split).mean for split in ("train", "test")
    ]
    assert torch.equal(said(named, seed=4), torch.cat(expected, dim=-2))


@pytest.mark.parametrize("named", ["datamodels", "difference:models=30"])
def test_what_is_the_same_for_all_models_is_one_table(named):
    problem, prediction = tiny(), made(named)
    direct = attributor(named, problem, None, fitted().halves, seed=0)
    assert prediction.table is not None
    assert prediction.on(models()) is prediction.table
    for split, data in problem.splits.items():
        expected = direct.without(problem.forget, torch.arange(len(data)), split).mean
        assert torch.equal(prediction.table.splits[split].mean, expected)


def test_a_method_without_a_need_has_none():
    assert Predictions(tiny(), None, 0).of(METHODS["fine-tune"]()) is None


# ---- what is made once


def test_half_data_models_are_read_once_for_all_that_ask_as_many(monkeypatch):
    passes = []
    real = HalfDataModels.sums
    monkeypatch.setattr(
        HalfDataModels, "sums", lambda self, *a: passes.append(len(self)) or real(self, *a)
    )
    asked = Predictions(tiny(), fitted(), 0)

    def of(named):
        return asked.of(METHODS["dmm"](attribution=named))

    first = of("combined")
    assert of("combined") is first
    again = of("combined:damping=0.1")
    assert passes == [MODELS, MODELS]
    assert again.measured is first.measured
    for one in (first, again):
        one.on(models())("train", ROWS_ASKED)
    assert passes == [MODELS, MODELS]
    fewer = of("combined:models=30")
    assert passes == [MODELS, MODELS, 30, 30]
    assert not torch.equal(
        fewer.measured.differences["train"].mean, first.measured.differences["train"].mean
    )


def test_rows_forgotten_earlier_are_not_read():
    """Half-data models that were fitted before saw them; they are judged on those still there."""
    gone = torch.tensor([8, 9, 30])
    problem = tiny(forget=()).without(gone).forgetting([20, 50])
    unread = with_nan(problem, gone)
    for named in ("combined", "datamodels", "linearised", "trak"):
        whole, found = (said(named, problem=one) for one in (problem, unread))
        assert torch.equal(found, whole)
        assert found.isfinite().all()


# ---- what decides a prediction


def test_whatever_decides_a_prediction_is_in_its_digest(monkeypatch):
    different = {
        "kind": made("ek-fac:iterations=2"),
        "setting": made("linearised:samples=7"),
        "seed": made("linearised", seed=1),
        "half-data models": made("combined"),
        "other half-data models": made("combined", fit=fitted(1)),
        "fewer half-data models": made("combined:models=30"),
        "seed of it": made("combined", seed=1),
        "table": made("difference"),
        "other table": made("difference", fit=fitted(1)),
        "table of fewer": made("difference:models=30"),
    }
    found = {name: one.digest for name, one in different.items()} | {"": made("linearised").digest}
    assert len(set(found.values())) == len(found)
    assert made("linearised").digest == found[""]
    assert made("linearised:iterations=2").digest == found[""]  # the default, said
    assert made("combined").digest == found["half-data models"]
    monkeypatch.setattr(predictions, "VERSION", -1)
    assert made("linearised").digest != found[""]


def test_a_default_that_changes_is_in_the_digest(monkeypatch):
    before = made("linearised").digest
    few = [Setting("samples", int, 5, "rows")]
    monkeypatch.setattr(ATTRIBUTIONS, "settings", lambda kind: few)
    assert made("linearised").digest != before


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_of_a_table_is_in_its_digest(split):
    told = made("datamodels")
    table = told.table
    assert table is not None
    change = table.splits[split]
    other = replace(table, splits={**table.splits, split: change._replace(mean=change.mean + 1)})
    assert replace(told, table=other).digest != told.digest


# ---- what is kept of each model


@pytest.fixture
def steps(monkeypatch):
    """How often the change of a model's weights is found."""
    calls = []
    for name in ("step", "fitted"):
        real = getattr(LeaveOut, name)

        def counted(self, *given, real=real, name=name):
            calls.append(name)
            return real(self, *given)

        monkeypatch.setattr(LeaveOut, name, counted)
    return calls


@pytest.mark.parametrize("named", ["linearised", "combined", "ek-fac"])
def test_steps_are_found_once_for_the_same_models(runtime, steps, named):
    """And each model gets its own again."""
    keep = runtime.store, "these"
    alone = said(named)
    steps.clear()
    assert torch.equal(said(named, *keep), alone)
    assert steps
    steps.clear()
    assert torch.equal(said(named, *keep), alone)
    assert not steps
    assert not torch.equal(alone[0], alone[1])


OTHERWISE = {
    "models": lambda named, store: said(named, store, "others"),
    "forget set": lambda named, store: said(named, store, "these", problem=tiny(forget=(1, 2))),
    "setting": lambda named, store: said(f"{named}:samples=9", store, "these"),
    "seed": lambda named, store: said(named, store, "these", seed=1),
}


@pytest.mark.parametrize("other", OTHERWISE.values(), ids=OTHERWISE)
@pytest.mark.parametrize("named", ["linearised", "combined"])
def test_steps_of_another_question_are_not_taken(runtime, steps, named, other):
    said(named, runtime.store, "these")
    steps.clear()
    other(named, runtime.store)
    assert steps


def test_steps_of_another_kind_or_version_are_not_taken(runtime, steps, monkeypatch):
    """Combined has more parts than linearised, by the same settings."""
    for named in ("linearised", "influence", "combined"):
        steps.clear()
        said(named, runtime.store, "these")
        assert steps
    monkeypatch.setattr(predictions, "VERSION", -1)
    steps.clear()
    said("linearised", runtime.store, "these")
    assert steps


def test_a_model_that_cannot_be_linearised_is_named_where_steps_are_kept(runtime):
    problem, own = tiny(Fused), models(1, Fused)
    for keep in (None, (runtime.store, "these")):
        with pytest.raises(BadInput, match="a model of Linear, .* cannot linearise"):
            made("linearised", problem).on(own, keep)("train", ROWS_ASKED)
