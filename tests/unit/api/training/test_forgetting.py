"""forget() by the history of a model."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.api.forget import forget
from expunge.contract.problems import mlp, tiny, tiny64
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.rng import seeded
from expunge.training.from_recipe import train
from expunge.training.unrolled.history import History

from .common import FIRST, MEMBER, SECOND, SEED, gap


def trainer(data, rows, *, seed, device):
    return mlp()


@pytest.mark.parametrize("name", ["single-gradient", "amnesiac"])
def test_a_trainer_is_refused_by_methods_that_need_a_history(runtime, name):
    problem = replace(tiny(forget=()), recipe=trainer)
    with seeded(0):
        model = mlp()
    with pytest.raises(BadInput, match="models that a function trained"):
        forget(model, problem, [3], method=name, runtime=runtime)


def test_every_way_to_say_how_a_model_arose_is_the_same(make, tmp_path, runtime):
    problem = tiny64(forget=())
    made = make()
    forgets = partial(forget, runtime=runtime, method="single-gradient")
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


def test_a_second_request_ends_where_one_request_for_both_ends(make, tmp_path, runtime):
    problem = tiny64(forget=())
    made = make()
    forgets = partial(forget, runtime=runtime, method="single-gradient")
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
def test_amnesiac_takes_back_what_was_recorded(make, tmp_path, runtime, epochs):
    problem = tiny64(forget=(), epochs=epochs)
    made = make(problem, record=torch.tensor(FIRST + SECOND))
    forgets = partial(forget, runtime=runtime, method="amnesiac")
    first = forgets(tmp_path / "out/model.safetensors", problem, FIRST)
    again = MethodInputs(history=replace(made.history, recording=None))  # found by training again
    models, _ = train(problem, "original", [MEMBER], seed=SEED)
    asked = problem.forgetting(FIRST)
    (wanted,) = method("amnesiac")(asked, models, again, seed=0).models.modules()
    assert gap(first.model, wanted) < 1e-14
    assert gap(first.model, made.model) > 1e-3
    both = forgets(made, problem, FIRST + SECOND)
    second = forgets(first, first.problem, SECOND, history=tmp_path / "out")
    assert gap(second.model, both.model) < 1e-14


def test_amnesiac_without_a_recording_is_refused(make, runtime):
    with pytest.raises(BadInput, match="amnesiac, and no recording.*choose single-gradient"):
        forget(make(), tiny64(forget=()), FIRST, method="amnesiac", runtime=runtime)


def test_rows_that_were_not_recorded_are_refused(make, runtime):
    made = make(record=torch.tensor(FIRST))
    with pytest.raises(BadInput, match=r"held a row to forget and was not recorded.*--record"):
        forget(made, tiny64(forget=()), [20], method="amnesiac", runtime=runtime)


def test_a_damaged_recording_is_refused(make, tmp_path, runtime):
    made = make(record=torch.tensor(FIRST))
    path = next((tmp_path / "out/updates").iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadInput, match=rf"{path.name} cannot be read .*restore the file"):
        forget(made, tiny64(forget=()), FIRST, method="amnesiac", runtime=runtime)


def test_a_model_whose_history_is_not_known_is_refused(make, tmp_path, runtime):
    made = make()
    fix = r"train it with `expunge train`, or name its folder: --history FOLDER"
    forgets = partial(forget, method="single-gradient", runtime=runtime)
    with pytest.raises(BadInput, match=rf"needs to know how the model was trained.*{fix}"):
        forgets(made.model, tiny64(forget=()), FIRST)
    with pytest.raises(BadInput, match=fix):
        forgets(forgets(made, tiny64(forget=()), FIRST), tiny64(forget=()), SECOND)
    (tmp_path / "out/model.history.json").unlink()
    with pytest.raises(BadInput, match=rf"there is no .*{fix}"):
        forgets(tmp_path / "out/model.safetensors", tiny64(forget=()), FIRST)


def test_the_history_of_several_models_is_refused(make, runtime):
    problem = tiny64(forget=())
    several = History(problem, (0, 1), SEED)
    with pytest.raises(BadInput, match=r"the history of 2 models.*history\.of"):
        forget(make(), problem, FIRST, method="single-gradient", runtime=runtime, history=several)


def test_rows_that_no_step_read_change_nothing_and_the_card_says_why(make, runtime):
    problem = tiny64(forget=(), epochs=1, batch_size=50)
    made = make(problem, record=torch.arange(60))
    unread = sorted({*range(60)} - {*made.history.plan.flatten().tolist()})
    for name in ("single-gradient", "amnesiac"):
        done = forget(made, problem, unread[:2], method=name, runtime=runtime)
        assert gap(done.model, made.model) == 0
        assert "no step of the training held a forgotten row" in done.card.reason
