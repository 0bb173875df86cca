"""forget(): one module in, one module and its card out."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.api.card import read_card, weights_digest
from expunge.api.forget import forget
from expunge.attribution.registry import price
from expunge.contract.problems import FORGET, Tied, batchnorm, mlp, tiny
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.rng import seeded
from expunge.store.checksummed import read_checksummed
from expunge.training.from_recipe import train
from expunge.training.unrolled.history import History
from expunge.training.unrolled.recording import Recording

QUICK = {"epochs": 1, "steps": 4}


@pytest.fixture
def problem():
    return tiny(forget=())


@pytest.fixture
def model(problem):
    return trained(problem)


def trained(problem, seed=0):
    (module,) = train(problem, "original", [0], seed=seed)[0].modules()
    return module


def arose(problem):
    """How `trained` made its model, the recording included."""
    told = History(problem, (0,), 0)

    class Read(Recording):
        def update(self, step):
            return self.folder[step]

    updates, before = [], {}

    def look(step, models):
        now = {n: w.detach().clone() for n, w in models.weights().items()}
        updates.extend([{n: now[n] - before[n] for n in now}] if step else [])
        before.update(now)

    told.without(problem.forget, watch=look)
    return replace(told, recording=Read(updates))


def run(model, problem, runtime, rows=FORGET, method="fine-tune", **chosen):  # noqa: A002
    return forget(model, problem, rows, method=method, runtime=runtime, half_models=20, **chosen)


def short(name):
    known = METHODS[name].__dataclass_fields__
    return {k: v for k, v in QUICK.items() if k in known}


def state(module):
    return {name: t.clone() for name, t in module.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


# ---- the result


@pytest.mark.parametrize("name", [n for n in METHODS if n != "dm-direct"])
def test_every_method_returns_a_module_of_the_same_kind(name, runtime):
    problem = tiny(batchnorm, forget=())
    model = trained(problem).eval()
    before = state(model)
    told = {"history": arose(problem)} if "history" in METHODS[name].needs else {}
    done = run(model, problem, runtime, method=name, **short(name), **told)
    assert isinstance(done.model, nn.Sequential)
    assert done.model is not model
    assert equal(state(model), before)
    assert not equal(state(done.model), before) or done.card.reason
    assert not done.model.training
    assert not done.problem.present_mask[list(FORGET)].any()  # ready for the next request
    assert (
        done.cost.row_units
        == METHODS[name](**short(name)).price(problem.forgetting(list(FORGET))).row_units
    )
    assert done.model(problem.test.inputs).isfinite().all()


def test_submodules_keep_their_modes(runtime):
    """It is used as the one given was: batch norm in evaluation mode while the rest trains."""
    problem = tiny(batchnorm, forget=())
    model = trained(problem).train()
    model[1].eval()
    done = run(model, problem, runtime, epochs=1).model
    assert [m.training for m in done.modules()] == [m.training for m in model.modules()]


def test_frozen_parameters_stay_frozen(problem, model, runtime):
    model[2].bias.requires_grad_(False)
    before = model[2].bias.detach().clone()
    done = run(model, problem, runtime, epochs=1).model
    assert not done[2].bias.requires_grad
    assert torch.equal(done[2].bias, before)
    assert done[0].weight.requires_grad


def test_no_gradients_are_left_behind(problem, runtime):
    """They would double the memory, and be added to those of the user's next backward."""
    with seeded(0):
        model = mlp()
    done = run(model, problem, runtime, epochs=1).model
    assert all(p.grad is None for p in done.parameters())


def test_same_seed_same_bits_other_seed_other_bits(model, problem, runtime):
    short = {"epochs": 1, "batch_size": 16}
    one, two, other = (run(model, problem, runtime, seed=s, **short) for s in (4, 4, 5))
    assert equal(state(one.model), state(two.model))
    assert not equal(state(one.model), state(other.model))


def test_a_method_may_be_an_object_and_rows_a_mask(model, problem, runtime):
    mask = torch.zeros(60, dtype=torch.bool)
    mask[list(FORGET)] = True
    one = run(model, problem, runtime, mask, METHODS["fine-tune"](epochs=1))
    two = run(model, problem, runtime, epochs=1)
    assert equal(state(one.model), state(two.model))
    assert one.card.settings == two.card.settings == {"epochs": 1, "lr": 0.01, "batch_size": 64}


def test_exact_forgetting_is_blind_to_the_rows(model, problem, runtime):
    inputs = problem.train.inputs.clone()
    inputs[list(FORGET)] = float("nan")
    blind = replace(problem, train=type(problem.train)(inputs, problem.train.targets))
    pair = [state(run(model, p, runtime, method="retrain").model) for p in (problem, blind)]
    assert equal(*pair)


# ---- the card


def test_a_card_says_where_a_model_comes_from_and_what_is_gone(model, problem, runtime, tmp_path):
    done = run(model, problem, runtime, epochs=1, seed=3, command="expunge forget ...")
    path = done.save(tmp_path / "first")
    card = read_card(path)
    assert card == done.card
    assert (card.parent, card.weights) == (weights_digest(model), weights_digest(done.model))
    assert (card.forgotten, card.forgotten_before) == (list(FORGET), [])
    assert (card.method, card.claim, card.seed) == ("fine-tune", "approximate", 3)
    assert card.changed > 0
    assert card.cost["row_units"] == done.cost.row_units
    assert 0 < card.cost["relative_to_retrain"] < 1
    assert card.shared_cost is None
    assert card.problem == "three blobs"
    assert card.run["command"] == "expunge forget ..."
    assert card.gone() == sorted(FORGET)
    written = json.loads((tmp_path / "first" / "model.card.json").read_text())
    assert written["schema"] == "expunge.card/1"


def test_a_second_request_knows_what_is_gone(model, problem, runtime, tmp_path):
    """The rows of the first request are neither forgettable again nor ever read."""
    first = run(model, problem, runtime, epochs=1).save(tmp_path / "first")
    inputs = problem.train.inputs.clone()
    inputs[list(FORGET)] = float("nan")
    blind = replace(problem, train=type(problem.train)(inputs, problem.train.targets))
    for asked in (problem, blind):
        second = run(first, asked, runtime, [0, 1], epochs=1)
        assert second.card.forgotten == [0, 1]
        assert second.card.forgotten_before == sorted(FORGET)
        assert second.card.gone() == sorted([0, 1, *FORGET])
        assert second.card.parent == read_card(first).weights
        assert len(second.problem.retain) == 60 - 2 - len(FORGET)
    with pytest.raises(BadInput, match=r"row 3 was already forgotten \(1 such\)"):
        run(first, problem, runtime, [0, 3])
    third = run(second.save(tmp_path / "second"), problem, runtime, [2], epochs=1)
    assert third.card.forgotten_before == sorted([0, 1, *FORGET])


def test_a_result_is_given_to_the_next_request_with_either_problem(model, problem, runtime):
    """With the problem it came with, or the one it hands back."""
    first = run(model, problem, runtime, epochs=1)
    second = [run(first, p, runtime, [0, 1], epochs=1) for p in (problem, first.problem)]
    assert equal(*(state(done.model) for done in second))
    for done in second:
        assert done.card.forgotten_before == sorted(FORGET)
        assert len(done.problem.present_rows) == 60 - 2 - len(FORGET)
    for asked in (problem, first.problem):
        with pytest.raises(BadInput, match="row 3 was already forgotten"):
            run(first, asked, runtime, [3])


def test_an_earlier_model_is_never_overwritten(model, problem, runtime, tmp_path):
    first = run(model, problem, runtime, epochs=1)
    path = first.save(tmp_path / "here")
    before = path.read_bytes()
    with pytest.raises(BadInput, match="model.safetensors exists.*choose another"):
        run(first, problem, runtime, [0], epochs=1).save(tmp_path / "here")
    assert path.read_bytes() == before


def test_the_workshops_seed_decides_unless_another_is_named(model, problem, runtime):
    short = {"epochs": 1, "batch_size": 16}
    by_workshop = run(model, problem, replace(runtime, seed=4), **short)
    named = run(model, problem, runtime, seed=4, **short)
    assert by_workshop.card.seed == named.card.seed == 4
    assert equal(state(by_workshop.model), state(named.model))


def test_retraining_after_an_earlier_request_leaves_both_out(model, problem, runtime, tmp_path):
    first = run(model, problem, runtime, method="retrain").save(tmp_path)
    second = run(first, problem, runtime, [0, 1], method="retrain")
    both = run(model, problem, runtime, [0, 1, *FORGET], method="retrain")
    assert equal(state(second.model), state(both.model))


# ---- weights on disk


def test_weights_come_from_safetensors_and_from_a_state_dict(model, problem, runtime, tmp_path):
    torch.save(model.state_dict(), tmp_path / "m.pt")
    wanted = state(run(model, problem, runtime, epochs=1).model)
    for path in (tmp_path / "m.pt", str(tmp_path / "m.pt")):
        found = run(path, problem, runtime, epochs=1)
        assert equal(state(found.model), wanted)
        assert found.card.parent == weights_digest(model)
    saved = run(model, problem, runtime, epochs=1).save(tmp_path / "saved")
    again = run(saved, problem, runtime, [0], epochs=1)
    assert again.card.parent == read_card(saved).weights


def test_tied_weights_are_saved_and_loaded(runtime, tmp_path):
    problem = tiny(Tied, forget=())
    model = trained(problem)
    done = run(model, problem, runtime, epochs=1)
    assert done.model.second.weight is done.model.first.weight
    again = run(done.save(tmp_path), problem, runtime, [0], epochs=1)
    assert again.model.second.weight is again.model.first.weight
    torch.save(model.state_dict(), tmp_path / "m.pt")
    assert run(tmp_path / "m.pt", problem, runtime, epochs=1).card.parent == weights_digest(model)


class Harmful:
    def __reduce__(self):
        return print, ("code ran",)


def write(path, kind, model):
    if kind == "module":
        torch.save(model, path)
    elif kind == "code":
        torch.save({"0.weight": Harmful()}, path)
    elif kind == "garbage":
        path.write_bytes(b"not weights at all")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "lacking":
        torch.save({k: v for k, v in model.state_dict().items() if k != "2.bias"}, path)
    elif kind == "foreign":
        torch.save({**model.state_dict(), "9.bias": torch.ones(1)}, path)
    elif kind == "wider":
        torch.save({k: torch.ones(99) for k in model.state_dict()}, path)
    elif kind == "tensor":
        torch.save(torch.ones(3), path)
    return path


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("missing", "there is no file"),
        ("module", "holds more than tensors, and loading it could run its code"),
        ("code", "holds more than tensors"),
        ("garbage", "cannot be read as weights|holds more than tensors"),
        ("empty", "cannot be read as weights"),
        ("lacking", r"does not fit the model \(missing \['2.bias'\]"),
        ("foreign", r"does not fit the model \(.*unexpected \['9.bias'\]"),
        ("wider", "does not fit the model .*size mismatch"),
        ("tensor", "does not fit the model"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(
    kind, match, problem, model, runtime, tmp_path, capsys
):
    with pytest.raises(BadInput, match=match):
        run(write(tmp_path / "m.pt", kind, model), problem, runtime)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda text: text[:50], "is not a model card"),
        (lambda text: text.replace("expunge.card/1", "expunge.card/9"), "another schema"),
        (lambda text: text.replace('"seed"', '"sed"'), "is not a model card"),
        (lambda text: text.replace('"weights": "', '"weights": "0'), "is of other weights"),
        (lambda text: "[]", "is not a model card"),
    ],
)
def test_a_card_that_cannot_be_trusted_is_refused(damage, match, model, problem, runtime, tmp_path):
    path = run(model, problem, runtime, epochs=1).save(tmp_path)
    card = tmp_path / "model.card.json"
    text = json.dumps(read_checksummed(card))  # as one that was written before there were seals
    card.write_text(damage(text))
    with pytest.raises(BadInput, match=match):
        run(path, problem, runtime, [0])


def test_a_card_of_other_data_is_refused(model, problem, runtime, tmp_path):
    """A card may name rows that the problem given now does not have."""
    path = run(model, problem, runtime, [58], epochs=1).save(tmp_path)
    fewer = replace(
        problem, train=type(problem.train)(problem.train.inputs[:50], problem.train.targets[:50])
    )
    with pytest.raises(BadInput, match="58"):
        run(path, fewer, runtime, [0])


# ---- refusals


def test_bad_input(model, problem, runtime, tmp_path):
    bare = replace(problem, recipe=None)
    torch.save(model.state_dict(), tmp_path / "m.pt")
    cases = [
        ({"rows": []}, "there are no rows to forget"),
        ({"rows": [60]}, "row 60 is out of range"),
        ({"method": "dm-direct"}, "corrects answers and leaves the weights as they are.*use dmm"),
        ({"lr": 0.0}, "fine-tune changed no weight.*raise the learning rate"),
        ({"epochs": 0}, "fine-tune changed no weight|epochs"),
        ({"method": "fine-tun"}, "did you mean 'fine-tune'"),
        ({"rate": 0.1}, "has no setting 'rate'"),
        ({"method": None, "lr": 0.1}, "settings lr without a method"),
        ({"budget": 0.5}, "a method and a budget.*leave one out"),
        ({"method": "retrain", "problem": bare}, "no recipe, which is needed to run retrain"),
        ({"method": "dmm", "problem": bare}, "a problem without a Recipe, from which the damping"),
        (
            {"method": "dmm", "problem": bare, "attribution": "datamodels"},
            "no recipe, which is needed to run dmm",
        ),
        (
            {"method": "dmm", "attribution": "linearized"},
            "unknown attribution 'linearized' .did you mean 'linearised'",
        ),
        (
            {"method": "dmm", "attribution": "linearised:damp=1"},
            "has no setting 'damp' .did you mean 'damping'",
        ),
        (
            {"method": "dmm", "attribution": "linearised:damping=x"},
            "damping = 'x'.*damping above 0",
        ),
        ({"method": "dmm", "attribution": "linearised:damping=-1"}, "damping above 0"),
        ({"method": "dmm", "attribution": "ridge:damping=1"}, "one of models"),
        ({"method": "dmm", "attribution": "ridge:models=21"}, "21 half-data models, where there"),
        ({"model": tmp_path / "m.pt", "problem": bare}, "no way to build the model.*pass build="),
        ({"model": nn.Flatten()}, r"the model gave outputs of shape \(8, 6\)"),
    ]
    for changed, match in cases:
        given = {"model": model, "problem": problem, "runtime": runtime, **changed}
        with pytest.raises(BadInput, match=match):
            run(given.pop("model"), given.pop("problem"), given.pop("runtime"), **given)


def test_a_setting_unknown_to_a_method_object_is_refused(model, problem, runtime):
    with pytest.raises(BadInput, match="has no setting 'rate'"):
        run(model, problem, runtime, method=METHODS["fine-tune"](), rate=0.1)


def test_the_problem_without_a_recipe_can_be_fine_tuned(model, problem, runtime, tmp_path):
    bare = replace(problem, recipe=None)
    done = run(model, bare, runtime, epochs=1)
    assert done.card.cost["relative_to_retrain"] is None
    torch.save(model.state_dict(), tmp_path / "m.pt")
    again = run(tmp_path / "m.pt", bare, runtime, epochs=1, build=mlp)
    assert equal(state(again.model), state(done.model))


def test_a_failed_request_writes_nothing(model, problem, runtime, tmp_path):
    with pytest.raises(BadInput):
        run(model, problem, runtime, lr=1e30, epochs=5)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_dmm_and_oracle_matching_state_what_they_share(model, problem, runtime):
    problem = tiny(epochs=20, forget=())
    asked = {"method": "dmm", "steps": 4, "attribution": "datamodels"}
    dmm = run(model, problem, runtime, **asked).card.shared_cost
    assert re.match("20 half-data models", dmm["what"])
    assert dmm["row_units"] == 20 * 3 * 20 * 16
    own = METHODS["dmm"](steps=4).price(problem.forgetting(FORGET)).row_units
    assert dmm["requests_to_pay"] == math.ceil(20 * 3 * 20 * 16 / (3 * 20 * 54 - own))
    alone = run(model, problem, runtime, method="dmm", steps=4).card.shared_cost
    assert alone["what"] == "linearised attribution of this forget set"
    assert alone["requests_to_pay"] is None
    both = run(model, problem, runtime, **{**asked, "attribution": "combined"}).card.shared_cost
    assert both["what"] == dmm["what"]
    # of all 60 rows: four steps of 16 visit each retained one
    asked_for = price("combined", problem.forgetting(FORGET), 60).row_units
    assert both["row_units"] == dmm["row_units"] + asked_for
    assert asked_for > alone["row_units"]
    taught = run(model, problem, runtime, method="oracle-matching", steps=4).card.shared_cost
    assert taught["row_units"] == 3 * 20 * 54


def test_offloaded_weights_are_refused(problem, model, runtime):
    model[2].to("meta")
    with pytest.raises(BadInput, match="2 weights .* lie on no device, the first 2.weight .*cpu"):
        forget(model, problem, FORGET, method="fine-tune", runtime=runtime, epochs=1)


def test_hooks_of_accelerate_survive_and_act_on_the_new_weights(problem, model, runtime):
    dispatch_model = pytest.importorskip("accelerate").dispatch_model
    plain = forget(model, problem, FORGET, method="fine-tune", runtime=runtime, epochs=1)
    before = weights_digest(model)
    hooked = dispatch_model(model, {"0": "cpu", "1": "cpu", "2": "cpu"}, force_hooks=True)
    done = forget(hooked, problem, FORGET, method="fine-tune", runtime=runtime, epochs=1)
    assert weights_digest(hooked) == before
    assert weights_digest(done.model) == weights_digest(plain.model)
    assert all(hasattr(layer, "_hf_hook") for layer in done.model)
    x = torch.ones(1, 6)
    assert torch.equal(done.model(x), plain.model(x))
    done.model.to("meta")  # the copy and not the original
    assert weights_digest(hooked) == before
