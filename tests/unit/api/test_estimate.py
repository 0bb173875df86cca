"""estimate(): prices before work, and what is recommended."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.api.attribution_cost import shared_cost
from expunge.api.estimate import BECAUSE, PREFERRED, choose, estimate, seconds_per_unit
from expunge.api.needs import needs_halves
from expunge.api.trained import train_model
from expunge.attribution.fit import fit
from expunge.contract.problems import mlp, tiny
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.methods.method import Claim
from expunge.rng import seeded
from expunge.training.model_cache import ModelCache


def module():
    with seeded(0):
        return mlp()


def ask(problem, runtime, **given):
    return estimate(problem, module(), runtime, **{"half_models": 20, **given})


def long(**changed):
    """20 epochs, so that tuning for a few costs far less than retraining."""
    return tiny(**{"epochs": 20, **changed})


def share(problem, chosen):
    """What a method would cost, in retrainings."""
    return chosen.price(problem).row_units / (3 * problem.recipe.epochs * len(problem.retain))


def whole_share(problem, chosen, half_models=20):
    """The same with what is made before."""
    shared = shared_cost(problem, chosen, half_models, None)
    units = chosen.price(problem).row_units + (shared["row_units"] if shared else 0)
    return units / (3 * problem.recipe.epochs * len(problem.retain))


def test_every_method_is_priced_without_running_any(runtime):
    problem = long()
    found = ask(problem, runtime)
    assert {p.method.name for p in found.prices} == set(METHODS)
    assert found.retraining.row_units == 3 * 20 * 54
    for price in found.prices:
        kind = METHODS[price.method.name]
        assert price.own.row_units == kind().price(problem).row_units
        assert price.possible == ""
        shared = price.shared["row_units"] if price.shared else 0
        wanted = (price.own.row_units + shared) / (3 * 20 * 54)
        assert price.relative == pytest.approx(wanted)
        assert bool(price.shared) == bool(kind.needs & {"change", "teachers"})
        assert not price.reused
    assert not list(runtime.store.keys("models"))


def test_a_method_whose_history_is_not_there_has_no_price(runtime, tmp_path):
    def said():
        found = ask(problem, runtime, history=tmp_path / "model")
        return {p.method.name: p.possible for p in found.prices if p.possible}

    problem = long()
    unknown = "how the model was trained is not known: `expunge train` writes that"
    assert said() == {"single-gradient": unknown, "amnesiac": unknown}
    train_model(problem, out=tmp_path / "model", runtime=runtime)
    unrecorded = "its training was not recorded: `expunge train --record` does that"
    assert said() == {"amnesiac": unrecorded}
    train_model(problem, out=tmp_path / "two", runtime=runtime, record=torch.tensor([5]))
    assert not any(p.possible for p in ask(problem, runtime, history=tmp_path / "two").prices)


def test_of_a_trainer_no_history_can_be_told(runtime):
    def trainer(data, rows, *, seed, device):
        return module()

    trainer.epochs = 3
    found = ask(replace(tiny(), recipe=trainer), runtime)
    said = {p.method.name: p.possible for p in found.prices if p.possible}
    assert said.keys() == {"single-gradient", "amnesiac"}
    assert set(said.values()) == {"how models arose can be told of a Recipe only"}


def test_seconds_are_of_a_short_timing_and_nothing_moves():
    problem, model = long(), module()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    assert 0 < seconds_per_unit(problem, model) < 0.01
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("budget", [None, 0.01, 0.1, 0.5, 0.999, 1.0, 3.0, 1000.0])
@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_what_is_recommended_fits_and_changes_weights(runtime, budget, epochs):
    """For one request: never half-data models yet to be made, never a teacher, nothing dearer."""
    problem = tiny(epochs=epochs)
    found = ask(problem, runtime, budget=budget)
    if found.recommended is None:
        assert budget is not None
        return
    assert found.because
    assert found.recommended.claim != Claim.OUTPUTS_ONLY
    assert "teachers" not in found.recommended.needs
    assert not needs_halves(found.recommended)
    cost = whole_share(problem, found.recommended)
    assert cost <= min(budget or 1.0, 1.0)
    if found.recommended.name != "retrain":
        assert cost < 1.0


@pytest.mark.parametrize("budget", [1.0, 5.0, None])
@pytest.mark.parametrize("epochs", [1, 20])
def test_retraining_is_recommended_where_it_may_be_paid(runtime, budget, epochs):
    found = ask(tiny(epochs=epochs), runtime, budget=budget)
    assert found.recommended.name == "retrain"


def test_a_budget_shortens_the_method(runtime):
    problem = long(epochs=200)
    for steps in (5, 20, 80):
        budget = whole_share(problem, METHODS["dmm"](steps=steps)) + 1e-9
        assert ask(problem, runtime, budget=budget).recommended == METHODS["dmm"](steps=steps)
    generous = ask(problem, runtime, budget=0.8).recommended
    assert generous == METHODS["dmm"]()  # never beyond its settings


def test_what_is_too_dear_for_dmm_is_fine_tuned(runtime):
    problem = long()
    cheap = whole_share(problem, METHODS["dmm"](steps=1)) - 1e-9
    for epochs in (1, 2, 4):
        budget = share(problem, METHODS["fine-tune"](epochs=epochs)) + 1e-9
        if budget < cheap:
            chosen = ask(problem, runtime, budget=budget).recommended
            assert chosen == METHODS["fine-tune"](epochs=epochs)
    assert cheap > share(problem, METHODS["fine-tune"](epochs=1))  # so that one was asked


def test_a_trainer_has_no_damping_so_it_is_fine_tuned(runtime):
    def trainer(data, rows, *, seed, device):
        return nn.Linear(6, 3)

    trainer.key, trainer.epochs = "linear", 200
    found = ask(replace(tiny(), recipe=trainer), runtime, budget=0.5)
    assert found.recommended.name == "fine-tune"


def test_every_preferred_method_says_why():
    assert set(BECAUSE) == set(PREFERRED)


def test_a_budget_below_everything_is_refused(runtime):
    problem = long()
    found = ask(problem, runtime, budget=1e-6)
    assert found.recommended is None
    assert "at most 1e-06 of a retraining" in found.because
    with pytest.raises(BadInput, match="no method can be chosen: nothing .* 1e-06 of a retraining"):
        choose(problem, module(), runtime, half_models=20, budget=1e-6)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_is_positive(runtime, budget):
    with pytest.raises(BadInput, match="a budget of .*above 0"):
        ask(long(), runtime, budget=budget)


def test_half_models_that_exist_cost_this_request_nothing(runtime):
    problem, runtime = long(), replace(runtime, group=5)
    fit(ModelCache(problem, runtime), 20)
    asked = problem.forgetting([1, 2])

    def reused(runtime, **given):
        return [price for price in ask(asked, runtime, **given).prices if price.reused]

    (price,) = reused(runtime)
    assert price.method == METHODS["dmm"](attribution="combined")
    assert price.relative == pytest.approx(whole_share(asked, price.method, 0))
    alone = whole_share(asked, METHODS["dmm"]())
    assert alone < price.relative < 1.2 * alone  # it reads the models once more
    fewer = METHODS["dmm"](attribution="combined:models=15")
    same = [one for one in reused(runtime, method=fewer) if one.method == fewer]
    assert [one.relative for one in same] == [pytest.approx(price.relative)]
    assert not reused(runtime, half_models=30)
    assert not reused(replace(runtime, seed=9))


@pytest.mark.parametrize("half_models", [1, 20])
def test_half_models_yet_to_be_made_are_never_recommended_however_few(runtime, half_models):
    """One alone would cost less than a retraining, and predict nothing."""
    problem = long(epochs=200)
    for budget in (None, 0.99, 2.0):
        found = ask(problem, runtime, half_models=half_models, budget=budget)
        assert not needs_halves(found.recommended)


def test_dmm_is_recommended_once_its_half_models_exist(runtime):
    problem, runtime = long(epochs=200), replace(runtime, group=5)
    assert ask(problem, runtime).recommended.name == "retrain"
    fit(ModelCache(problem, runtime), 20)
    asked = problem.forgetting([1, 2])
    combined = METHODS["dmm"](attribution="combined")
    assert ask(asked, runtime).recommended == combined
    cost = whole_share(asked, combined, 0)
    assert ask(asked, runtime, budget=cost + 1e-9).recommended == combined
    assert ask(asked, runtime, budget=cost - 1e-9).recommended != combined


def test_without_a_recipe_what_needs_one_is_impossible(runtime):
    bare = replace(tiny(), recipe=None)
    found = ask(bare, runtime)
    assert found.retraining is None
    for price in found.prices:
        assert bool(price.possible) == bool(METHODS[price.method.name].needs)
        assert price.relative is None
    assert found.recommended.name == "fine-tune"
    assert ask(bare, runtime, budget=0.5).recommended is None
    with pytest.raises(BadInput, match="one retraining has no known price"):
        choose(bare, module(), runtime, budget=0.5)


def test_a_trainer_is_priced_once_it_says_its_epochs(runtime):
    def trainer(data, rows, *, seed, device):
        return nn.Linear(6, 3)

    trainer.key = "linear"
    problem = replace(tiny(), recipe=trainer)
    assert ask(problem, runtime).retraining is None
    trainer.epochs = 10
    found = ask(problem, runtime)
    assert found.retraining.row_units == 3 * 10 * 54
    told = [price for price in found.prices if "history" not in price.method.needs]
    assert all(price.relative is not None for price in told)
