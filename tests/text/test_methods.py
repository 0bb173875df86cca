"""Every method on models of text: whole numbers by name, embeddings, an LSTM, a transformer."""

import pytest
import torch

from expunge.api.predictions import Predictions
from expunge.attribution.registry import ATTRIBUTIONS, from_halves
from expunge.contract.cases import gap, history, originals, run, short
from expunge.engine.shifted import Shifted
from expunge.errors import BadInput
from expunge.methods import METHODS, MethodInputs, method
from expunge.training.from_recipe import train
from expunge.training.group_size import choose_group

from .problems import CLASSES, MODELS, Bag, Encoder, Mean, Recurrent, held, padded, texts

REFUSED = {"boundary-shrink": "inputs of dict for boundary-shrink.*choose random-label"}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_forgets_rows_of_text(name, build):
    problem, kind = texts(build), METHODS[name]
    models = originals(problem, 2)
    if name in REFUSED:
        with pytest.raises(BadInput, match=REFUSED[name]):
            run(problem, kind, models)
        return
    result = run(problem, kind, models)
    outputs = result.models.outputs(problem.task, problem.train, problem.forget)
    assert outputs.shape == (2, len(problem.forget), CLASSES)
    assert outputs.isfinite().all()
    assert isinstance(result.models, Shifted) or result.changed > 0 or result.reason


@pytest.mark.parametrize("name", [name for name in METHODS if name not in REFUSED])
def test_a_method_forgets_rows_that_a_data_set_pads(name):
    problem, kind = texts(Mean, padded), METHODS[name]
    models, given = originals(problem, 1), MethodInputs()
    if "change" in kind.needs:
        asked = short(kind, attribution="linearised")
        given = MethodInputs(change=Predictions(problem, None, 0).of(asked).on(models))
    elif "teachers" in kind.needs:
        given = MethodInputs(teachers=originals(problem, 1, first=100))
    elif "history" in kind.needs:
        given = MethodInputs(history=history(problem, 1))
    result = short(kind)(problem, models, given, seed=0)
    assert isinstance(result.models, Shifted) or result.changed > 0 or result.reason


@pytest.mark.parametrize("build", [Mean, Recurrent, Encoder])
@pytest.mark.parametrize("named", [name for name in ATTRIBUTIONS if not from_halves(name)])
def test_a_change_is_predicted_from_the_model_itself(named, build):
    problem = texts(build)
    predicted = Predictions(problem, None, 0).of(short(METHODS["dmm"], attribution=named))
    change = predicted.on(originals(problem, 1))("train", problem.forget)
    assert change.mean.isfinite().all()
    assert change.mean.abs().max() > 0


def test_what_has_no_forward_derivative_is_refused_with_what_serves_it():
    """An EmbeddingBag; its other attribution and curvature work."""
    problem = texts(Bag)
    models = originals(problem, 1)
    asked = {name: short(METHODS["dmm"], attribution=name) for name in ("linearised", "trak")}
    told = "EmbeddingBag, Linear, which {} cannot linearise .*Embedding and a sum.*use --{}"
    with pytest.raises(BadInput, match=told.format("this attribution", "attribution trak")):
        Predictions(problem, None, 0).of(asked["linearised"]).on(models)("train", problem.forget)
    change = Predictions(problem, None, 0).of(asked["trak"]).on(models)("train", problem.forget)
    assert change.mean.abs().max() > 0
    with pytest.raises(BadInput, match=told.format("influence .*", "curvature fisher")):
        method("influence", curvature="gauss-newton")(problem, models, MethodInputs(), seed=0)


def test_sparse_gradients_of_embeddings_serve_every_method():
    class Sparse(Mean):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding.from_pretrained(self.words.weight, False, sparse=True)

    for name in METHODS:
        if name in REFUSED:
            continue
        dense, sparse = (
            run(problem, METHODS[name], originals(problem, 1))
            for problem in (texts(Mean), texts(Sparse))
        )
        assert abs(dense.changed - sparse.changed) <= 1e-4 * dense.changed, name


@pytest.mark.parametrize("make", [held, padded])
@pytest.mark.parametrize("build", [Mean, Bag, Encoder])
def test_members_train_and_answer_in_a_group_as_they_do_alone(build, make):
    problem = texts(lambda: build().double(), make)
    assert not choose_group(problem, "cpu").refused
    alone, together = (
        train(problem, "original", range(3), seed=0, group=size)[0] for size in (1, 3)
    )
    assert gap(alone, together) < 1e-12
    rows = torch.arange(20)
    answers = [m.outputs(problem.task, problem.train, rows) for m in (alone, together)]
    torch.testing.assert_close(*answers, rtol=0, atol=1e-6)
