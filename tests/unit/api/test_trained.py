"""train_model(), its history read back, and forget() by it."""

import json
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from expunge.api import trained as room
from expunge.api.forget import forget
from expunge.api.tracking import FORMS
from expunge.api.trained import read_history, train_model
from expunge.audit.unlearning_error import unlearning_error
from expunge.contract.cases import same_bits, weights
from expunge.contract.problems import FORGET, batchnorm, mlp, tiny, tiny64
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.halfway import Halfway
from expunge.history import History
from expunge.maker import Workshop
from expunge.methods import Given, method
from expunge.probes.unrolling import curvature, distance
from expunge.recipe import cosine
from expunge.recording import Recording
from expunge.rng import seeded
from expunge.store import Store
from expunge.train import train

SEED, MEMBER = 4, 3
FIRST, SECOND = [3, 7], [11, 19, 58]


@pytest.fixture
def workshop(tmp_path):
    return Workshop(Store(tmp_path / "store"), seed=SEED, jobs=1, group=1, progress=False)


@pytest.fixture
def make(tmp_path, workshop):
    """Train member 3 of a problem into a folder."""

    def making(problem=None, out="out", **given):
        problem = tiny64(forget=()) if problem is None else problem
        given = {"workshop": workshop, "member": MEMBER, **given}
        return train_model(problem, out=tmp_path / out, **given)

    return making


def original(problem, member=MEMBER, seed=SEED):
    return weights(train(problem, "original", [member], seed=seed)[0])


def state(module):
    return {n: t.detach()[None].clone() for n, t in module.state_dict().items()}


def gap(one, two):
    a, b = (dict(m.named_parameters()) for m in (one, two))
    return max(float((a[n] - b[n]).detach().abs().max()) for n in a)


def files(folder):
    """The bytes of all files in a folder; of a history only what does not tell of its run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    facts = json.loads(found["model.history.json"])
    del facts["run"]
    return {**found, "model.history.json": facts}


def jitter(batch, draws):
    return batch._replace(inputs=batch.inputs + 0.1 * draws.normal(batch.inputs.shape[-2:]))


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


def test_tracked_are_the_factors_and_forms_at_each_look(make, tmp_path, workshop):
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
    assert [one["steps"] for one in made.tracked["looks"]] == [3, 6, 9]
    for one in made.tracked["looks"]:
        module = states[one["steps"]]
        here = {n: p.detach() for n, p in module.named_parameters()}
        assert one["distance"] == pytest.approx(distance(here, start))
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
    make, tmp_path, workshop, other
):
    first = make(track=2)
    fresh = replace(workshop, store=Store(tmp_path / "fresh"))
    wanted = make(track=2, out="alone", workshop=fresh, **other).tracked
    assert make(track=2, out="after", **other).tracked == wanted != first.tracked


def test_more_looks_than_steps_are_refused(make):
    with pytest.raises(BadInput, match="10 looks along a training of 9 steps.*from 1 to 9"):
        make(track=10)


def test_a_measurement_that_got_lost_is_said_and_not_left_out(make, workshop, monkeypatch):
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


# ---- killed


class Killed(Exception):
    """In the place of a signal."""


@pytest.fixture
def kill(monkeypatch):
    """Every step is kept; the training dies after so many, or not at all."""

    def killing(after):
        class Dying(Halfway):
            def offer(self, weights, optimizer, spent):
                super().offer(weights, optimizer, spent)
                if spent.steps == after:
                    raise Killed

        monkeypatch.setattr(room, "Halfway", partial(Dying, every=0.0))

    return killing


@pytest.mark.parametrize("after", [1, 5, 8])
def test_killed_it_goes_on_and_ends_with_the_same_bytes(make, tmp_path, kill, workshop, after):
    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    problem = tiny(batchnorm, augment=jitter, optimizer=momentum)
    given = {"track": 4, "record": torch.tensor(FORGET)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of momentum
        whole = make(problem, "whole", **given)
        other = replace(workshop, store=Store(tmp_path / "other"))
        kill(after)
        with pytest.raises(Killed):
            make(problem, "out", workshop=other, **given)
        assert not (tmp_path / "out/model.safetensors").exists()
        kill(0)
        read = []
        listening = replace(problem.recipe, augment=lambda b, d: read.append(0) or jitter(b, d))
        again = make(replace(problem, recipe=listening), "out", workshop=other, **given)
    # the steps that are left, and two by which the recipe is recognised
    assert len(read) == 9 - after + 2
    assert files(tmp_path / "whole") == files(tmp_path / "out")
    assert again.tracked == whole.tracked
    assert not list(other.store.keys("halfway"))


def test_killed_and_asked_into_another_folder_every_step_is_recorded_there(make, tmp_path, kill):
    make(out="whole", record=torch.arange(60))
    kill(5)
    with pytest.raises(Killed):
        make(out="one", record=torch.arange(60))
    kill(0)
    make(out="two", record=torch.arange(60))
    assert files(tmp_path / "two") == files(tmp_path / "whole")


@pytest.mark.parametrize("other", [{"member": 0}, {"problem": tiny64(forget=(), l2=0.5)}])
def test_another_training_does_not_go_on_where_one_was_killed(make, kill, other):
    kill(5)
    with pytest.raises(Killed):
        make()
    kill(0)
    made = make(**other)
    problem = other.get("problem", tiny64(forget=()))
    assert same_bits(state(made.model), original(problem, other.get("member", MEMBER)))


def test_killed_and_asked_to_record_more_rows_it_records_all_of_them(make, tmp_path, kill):
    kill(5)
    with pytest.raises(Killed):
        make(record=torch.tensor([5]))
    kill(0)
    make(record=torch.arange(60))
    assert len(list((tmp_path / "out/updates").iterdir())) == 9


def test_what_another_training_recorded_before_it_was_killed_is_not_taken_for_ones_own(
    make, tmp_path, kill, workshop
):
    kill(7)
    with pytest.raises(Killed):
        make(record=torch.arange(60), workshop=replace(workshop, seed=SEED + 1))
    kill(0)
    (tmp_path / "out/updates/notes.txt").write_text("kept")
    made = make(record=torch.tensor([5]))
    held = int(torch.isin(made.history.plan, torch.tensor([5])).any(-1).sum())
    assert len(list((tmp_path / "out/updates").glob("step-*"))) == held < 7
    assert (tmp_path / "out/updates/notes.txt").exists()


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


@pytest.mark.parametrize("name", ["single-gradient", "amnesiac"])
def test_a_trainer_is_refused_by_methods_that_need_a_history(workshop, name):
    problem = replace(tiny(forget=()), recipe=trainer)
    with seeded(0):
        model = mlp()
    with pytest.raises(BadInput, match="models that a function trained"):
        forget(model, problem, [3], method=name, workshop=workshop)


# ---- read back


def test_a_history_is_read_back_as_it_was(make, tmp_path, workshop):
    problem = tiny64(forget=()).without(torch.tensor(SECOND))
    made = make(problem, record=torch.tensor(FIRST))
    place = tmp_path / "out"
    later = problem.without(torch.tensor(FIRST))  # what was forgotten since is told as it was
    for where, asked in ((place, problem), (place / "model.safetensors", problem), (place, later)):
        found = read_history(where, asked, replace(workshop, seed=99), made.model)
        assert (found.ids, found.seed, found.group) == ((MEMBER,), SEED, 1)
        assert torch.equal(found.plan, made.history.plan)
        assert found.recording == Recording(place / "updates")
    assert read_history(place, problem, workshop).ids == (MEMBER,)


def test_a_history_is_known_again_elsewhere(make, tmp_path, workshop):
    """Without the store, and where the recipe's numbers come out with other rounding."""
    made, path = make(), tmp_path / "out/model.history.json"
    elsewhere = replace(workshop, store=Store(tmp_path / "elsewhere"))
    assert read_history(path, tiny64(forget=()), elsewhere, made.model).ids == (MEMBER,)
    facts = json.loads(path.read_text())
    facts["recipe"]["name"] = "a name by other bits"
    facts["recipe"]["does"] = [x + 1e-6 for x in facts["recipe"]["does"]]
    path.write_text(json.dumps(facts))
    assert read_history(path, tiny64(forget=()), elsewhere, made.model).ids == (MEMBER,)
    facts["recipe"]["does"][0] += 0.01
    path.write_text(json.dumps(facts))
    with pytest.raises(BadInput, match="a training by another recipe"):
        read_history(path, tiny64(forget=()), workshop, made.model)
    assert not list(elsewhere.store.root.glob("recipes/*"))


def faster(problem):
    optimizer = partial(torch.optim.SGD, lr=0.11)
    return replace(problem, recipe=replace(problem.recipe, optimizer=optimizer))


def fewer(problem):
    data = TensorData(problem.train.inputs[:50], problem.train.targets[:50])
    return replace(problem, train=data)


@pytest.mark.parametrize(
    ("change", "match"),
    [(faster, "tells of a training by another recipe"), (fewer, "a training on other rows")],
)
def test_the_history_of_another_training_is_refused(make, tmp_path, workshop, change, match):
    made = make()
    with pytest.raises(BadInput, match=match):
        read_history(tmp_path / "out", change(tiny64(forget=())), workshop, made.model)


def test_the_history_of_another_model_is_refused(make, tmp_path, workshop):
    one = make()
    two = make(out="two", member=MEMBER + 1)
    problem = tiny64(forget=())
    with pytest.raises(BadInput, match="tells of another model's weights.*wrote this model into"):
        read_history(tmp_path / "out", problem, workshop, two.model)
    with pytest.raises(BadInput, match="another model's weights"):
        forget(
            two.model,
            problem,
            FIRST,
            method="single-gradient",
            workshop=workshop,
            history=tmp_path / "out",
        )
    assert read_history(tmp_path / "out", problem, workshop, one.model).ids == (MEMBER,)


DAMAGES = {
    "cut": lambda text: text[:-20],
    "schema": lambda text: text.replace("expunge.history/1", "expunge.history/9"),
    "list": lambda text: "[]",
    "sketch": lambda text: text.replace('"does"', '"did"'),
    "weights": lambda text: text.replace('"weights"', '"weigths"'),
    "lacking": lambda text: text.replace('"member"', '"number"'),
    "absent": lambda text: text.replace('"absent": []', '"absent": [1000]'),
    "words": lambda text: text.replace('"absent": []', '"absent": ["a"]'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_history_is_refused(make, tmp_path, workshop, damage):
    make()
    path = tmp_path / "out/model.history.json"
    text = path.read_text()
    assert DAMAGES[damage](text) != text
    path.write_text(DAMAGES[damage](text))
    with pytest.raises(BadInput, match=r"does not tell how a model.*schema expunge\.history/1"):
        read_history(tmp_path / "out", tiny64(forget=()), workshop)


def test_where_there_is_no_history_it_is_said_how_to_have_one(tmp_path, workshop):
    with pytest.raises(BadInput, match=r"there is no .*--history FOLDER"):
        read_history(tmp_path, tiny64(), workshop)


# ---- forget() by it


def test_every_way_to_say_how_a_model_arose_is_the_same(make, tmp_path, workshop):
    problem = tiny64(forget=())
    made = make()
    forgets = partial(forget, workshop=workshop, method="single-gradient")
    told = {"history": tmp_path / "out"}
    ends = [
        forgets(made, problem, FIRST),
        forgets(tmp_path / "out/model.safetensors", problem, FIRST),
        forgets(str(tmp_path / "out/model.safetensors"), problem, FIRST),
        forgets(made.model, problem, FIRST, **told),
        forgets(made.model, problem, FIRST, history=made.history),
        forgets(made, problem, FIRST, seed=77),  # draws nothing: the history has its own seed
    ]
    term = made.history.first_term(problem.train, torch.tensor(FIRST))
    wanted = {n: p.detach() + term[n] for n, p in made.model.named_parameters()}
    for end in ends:
        for name, p in end.model.named_parameters():
            assert torch.allclose(p, wanted[name], atol=1e-14)
    assert max(float(t.abs().max()) for t in term.values()) > 1e-3


def test_a_second_request_ends_where_one_request_for_both_ends(make, tmp_path, workshop):
    problem = tiny64(forget=())
    made = make()
    forgets = partial(forget, workshop=workshop, method="single-gradient")
    both = forgets(made, problem, FIRST + SECOND)
    first = forgets(made, problem, FIRST)
    second = forgets(first, first.problem, SECOND, history=tmp_path / "out")
    path = first.save(tmp_path / "first")
    from_path = forgets(path, problem, SECOND, history=tmp_path / "out")
    for end in (second, from_path):
        assert gap(end.model, both.model) < 1e-14
        assert end.card.gone() == sorted(FIRST + SECOND)
    assert gap(first.model, both.model) > 1e-3


@pytest.mark.parametrize("epochs", [1, 3])
def test_amnesiac_takes_back_what_was_recorded(make, tmp_path, workshop, epochs):
    problem = tiny64(forget=(), epochs=epochs)
    made = make(problem, record=torch.tensor(FIRST + SECOND))
    forgets = partial(forget, workshop=workshop, method="amnesiac")
    first = forgets(tmp_path / "out/model.safetensors", problem, FIRST)
    again = Given(history=replace(made.history, recording=None))  # found by training again
    models, _ = train(problem, "original", [MEMBER], seed=SEED)
    asked = problem.forgetting(FIRST)
    (wanted,) = method("amnesiac")(asked, models, again, seed=0).models.modules()
    assert gap(first.model, wanted) < 1e-14
    assert gap(first.model, made.model) > 1e-3
    both = forgets(made, problem, FIRST + SECOND)
    second = forgets(first, first.problem, SECOND, history=tmp_path / "out")
    assert gap(second.model, both.model) < 1e-14


def test_amnesiac_without_a_recording_is_refused(make, workshop):
    with pytest.raises(BadInput, match="amnesiac, and no recording.*choose single-gradient"):
        forget(make(), tiny64(forget=()), FIRST, method="amnesiac", workshop=workshop)


def test_rows_that_were_not_recorded_are_refused(make, workshop):
    made = make(record=torch.tensor(FIRST))
    with pytest.raises(BadInput, match=r"held a row to forget and was not recorded.*--record"):
        forget(made, tiny64(forget=()), [20], method="amnesiac", workshop=workshop)


def test_a_damaged_recording_is_refused(make, tmp_path, workshop):
    made = make(record=torch.tensor(FIRST))
    path = next((tmp_path / "out/updates").iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadInput, match=rf"{path.name} cannot be read .*restore the file"):
        forget(made, tiny64(forget=()), FIRST, method="amnesiac", workshop=workshop)


def test_a_model_whose_history_is_not_known_is_refused(make, tmp_path, workshop):
    made = make()
    cure = r"train it with `expunge train`, or name its folder: --history FOLDER"
    forgets = partial(forget, method="single-gradient", workshop=workshop)
    with pytest.raises(BadInput, match=rf"needs to know how the model was trained.*{cure}"):
        forgets(made.model, tiny64(forget=()), FIRST)
    with pytest.raises(BadInput, match=cure):
        forgets(forgets(made, tiny64(forget=()), FIRST), tiny64(forget=()), SECOND)
    (tmp_path / "out/model.history.json").unlink()
    with pytest.raises(BadInput, match=rf"there is no .*{cure}"):
        forgets(tmp_path / "out/model.safetensors", tiny64(forget=()), FIRST)


def test_the_history_of_several_models_is_refused(make, workshop):
    problem = tiny64(forget=())
    several = History(problem, (0, 1), SEED)
    with pytest.raises(BadInput, match=r"the history of 2 models.*history\.of"):
        forget(make(), problem, FIRST, method="single-gradient", workshop=workshop, history=several)


def test_rows_that_no_step_read_change_nothing_and_the_card_says_why(make, workshop):
    problem = tiny64(forget=(), epochs=1, batch_size=50)
    made = make(problem, record=torch.arange(60))
    unread = sorted({*range(60)} - {*made.history.plan.flatten().tolist()})
    for name in ("single-gradient", "amnesiac"):
        done = forget(made, problem, unread[:2], method=name, workshop=workshop)
        assert gap(done.model, made.model) == 0
        assert "no step of the training held a forgotten row" in done.card.reason
