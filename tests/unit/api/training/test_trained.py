"""train_model(): the model, what is tracked and recorded, and what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from expunge.api.tracking import FORMS
from expunge.audit.metrics.unlearning_error import unlearning_error
from expunge.contract.cases import same_bits, weights
from expunge.contract.problems import FORGET, batchnorm, mlp, tiny, tiny64
from expunge.errors import BadInput
from expunge.probes.unrolling import curvature
from expunge.problem.recipe import cosine
from expunge.rng import seeded
from expunge.store import Store
from expunge.training.unrolled.history import History

from .common import FIRST, MEMBER, SECOND, SEED, files, jitter, original, state

# ---- the training


@pytest.mark.parametrize(
    "given",
    [{}, {"track": 4}, {"record": torch.tensor([5, 9])}, {"track": 9, "record": torch.arange(60)}],
    ids=["plain", "tracked", "recorded", "both"],
)
@pytest.mark.parametrize("build", [mlp, batchnorm])
def test_it_is_the_original_of_this_seed_to_the_last_bit(make, tmp_path, given, build):
    problem = tiny(build, augment=jitter, schedule=cosine, l2=0.01)
    made = make(problem, **given)
    assert same_bits(state(made.model), original(problem))
    kept = {n: t[None] for n, t in load_file(tmp_path / "out/model.safetensors").items()}
    assert same_bits(dict(sorted(kept.items())), dict(sorted(state(made.model).items())))
    assert all(p.grad is None for p in made.model.parameters())
    assert made.history.ids == (MEMBER,)
    assert (made.tracked is None) == ("track" not in given)


def test_rows_that_are_gone_play_no_part(make):
    problem = tiny64(forget=()).without(torch.tensor(FIRST))
    made = make(problem)
    assert same_bits(state(made.model), original(problem))
    assert not torch.isin(made.history.plan, torch.tensor(FIRST)).any()


def test_rows_to_forget_are_trained_on(make):
    made = make(tiny64(forget=FORGET))
    assert same_bits(state(made.model), original(tiny64(forget=())))
    assert torch.isin(made.history.plan, torch.tensor(FORGET)).any()


def test_the_history_file_says_all_that_it_takes(make, tmp_path):
    problem = tiny64(forget=()).without(torch.tensor(FIRST))
    make(problem, record=torch.tensor([9, 5]), command="expunge train ...")
    facts = json.loads((tmp_path / "out/model.history.json").read_text())
    wanted = {"seed": SEED, "member": MEMBER, "absent": FIRST, "recorded": [5, 9], "device": "cpu"}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["schema"] == "expunge.history/1"
    assert facts["problem"] == "three blobs"
    assert facts["run"]["command"] == "expunge train ..."
    assert all(len(facts[name]) == 64 for name in ("weights", "rows"))


# ---- tracked


def test_tracked_are_the_factors_and_forms_at_each_look(make, tmp_path, runtime):
    problem = tiny64(forget=(), schedule=cosine, l2=0.1)
    made = make(problem, track=3, hessian_rows=20)
    told = History(problem, (MEMBER,), SEED)
    start = {n: w.detach() for n, w in told.start().weights().items()}
    states, sizes = {}, []

    def look(step, models):
        module = mlp().double()
        module.load_state_dict(models.template.state_dict())
        states[step] = module

    with seeded(0):
        told.without(torch.empty(0, dtype=torch.int64), watch=look)
    assert [one["steps"] for one in made.tracked["measurements"]] == [3, 6, 9]
    for one in made.tracked["measurements"]:
        module = states[one["steps"]]
        here = {n: p.detach() for n, p in module.named_parameters()}
        apart = torch.cat([(here[n] - start[n]).flatten() for n in here])
        assert one["distance"] == pytest.approx(float(apart.norm()))
        assert one["eigenvalue"] == pytest.approx(curvature(problem, module, SEED, 20).value)
        sizes.append(abs(one["eigenvalue"]))
        rates = torch.tensor([0.1 * cosine(k / 9) for k in range(one["steps"])])
        wanted = unlearning_error(
            torch.tensor(one["distance"]), torch.tensor(sum(sizes) / len(sizes)), rates
        )
        for form in FORMS:
            assert one[form] == pytest.approx(float(getattr(wanted, form)), rel=1e-5)
        assert one["sigma"] == pytest.approx(sum(sizes) / len(sizes))
        assert one["rate"] == pytest.approx(float(rates.mean()), rel=1e-5)
    written = json.loads((tmp_path / "out/unlearning_error.json").read_text())
    assert written == made.tracked
    assert written["hessian_rows"] == 20
    assert (tmp_path / "out/unlearning_error.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    "other",
    [{"member": 0}, {"hessian_rows": 20}, {"problem": tiny64(forget=(), l2=0.5)}],
    ids=["member", "hessian", "recipe"],
)
def test_measurements_of_another_training_are_not_taken_for_ones_own(
    make, tmp_path, runtime, other
):
    first = make(track=2)
    fresh = replace(runtime, store=Store(tmp_path / "fresh"))
    wanted = make(track=2, out="alone", runtime=fresh, **other).tracked
    assert make(track=2, out="after", **other).tracked == wanted != first.tracked


def test_no_more_looks_than_there_are_steps(make):
    assert [one["steps"] for one in make(track=50).tracked["measurements"]] == [*range(1, 10)]


def test_a_measurement_that_got_lost_is_said_and_not_left_out(make, runtime, monkeypatch):
    kept = Store.save
    monkeypatch.setattr(
        Store, "save", lambda s, key, *a: None if "tracked/" in key else kept(s, key, *a)
    )
    with pytest.raises(BadInput, match="lost tracked/"):
        make(track=3)


# ---- recorded


def test_recorded_are_the_changes_of_the_steps_that_read_a_row(make, tmp_path):
    made = make(record=torch.tensor(FIRST))
    told = History(tiny64(forget=()), (MEMBER,), SEED)
    states = {}
    told.without(
        torch.empty(0, dtype=torch.int64),
        watch=lambda s, m: states.update({s: {n: t[0] for n, t in weights(m).items()}}),
    )
    held = torch.isin(told.plan[0], torch.tensor(FIRST)).any(-1)
    names = {f"step-{step:06d}.safetensors" for step in held.nonzero().flatten().tolist()}
    assert {path.name for path in (tmp_path / "out/updates").iterdir()} == names
    assert 0 < len(names) < 9
    for step in held.nonzero().flatten().tolist():
        for name, update in made.history.recording.update(step).items():
            assert torch.equal(update, states[step + 1][name] - states[step][name])


def test_all_rows_may_be_recorded(make, tmp_path):
    make(record=torch.arange(60))
    assert len(list((tmp_path / "out/updates").iterdir())) == 9


@pytest.mark.parametrize(
    ("rows", "match"),
    [([60], "row 60 is out of range"), ([5, 5], "row 5 is given more"), (FIRST, "already")],
)
def test_rows_that_cannot_be_recorded_are_refused(make, tmp_path, rows, match):
    problem = tiny64(forget=()).without(torch.tensor(FIRST))
    with pytest.raises(BadInput, match=match):
        make(problem, record=torch.tensor(rows))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_model_is_refused_and_nothing_is_lost(make, tmp_path):
    make(track=2, record=torch.tensor(FIRST))
    before = files(tmp_path / "out")
    with pytest.raises(BadInput, match=r"model\.safetensors exists"):
        make(member=5, record=torch.tensor(SECOND))
    assert files(tmp_path / "out") == before


# ---- what has no history


def trainer(data, rows, *, seed, device):
    return mlp()


@pytest.mark.parametrize(
    ("recipe", "match"),
    [(trainer, "models that a function trained"), (None, "no recipe, which is needed to tell")],
)
def test_without_a_recipe_there_is_nothing_to_tell(make, tmp_path, recipe, match):
    with pytest.raises(BadInput, match=match):
        make(replace(tiny(forget=()), recipe=recipe))
    assert not (tmp_path / "out").exists()
