"""A sequence classifier of transformers as the user's own model: forgotten from, judged, kept."""

from dataclasses import replace

import pytest
import torch

from expunge.api.audit import audit
from expunge.api.card import read_card, weights_digest
from expunge.api.compare import compare
from expunge.api.forget import forget
from expunge.api.require_fit import require_fit
from expunge.contract.fixtures import global_state
from expunge.curvature.point import Point
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import method
from expunge.problem import Classification, TextClassification
from expunge.rng import seeded
from expunge.training.from_recipe import train
from expunge.training.group_size import choose_group

from .by_autograd import require_product, require_row_gradients
from .reviews import FORGET, Prompted, config, distilbert, reviews, transformers

pytestmark = pytest.mark.usefixtures("no_page")
METHODS = {
    "fine-tune": {"epochs": 1},
    "gradient-ascent": {},
    "influence, fisher": {"samples": 12},
    "influence, gauss-newton": {"curvature": "gauss-newton", "iterations": 2},
    "ssd": {"samples": 12, "alpha": 2.0},
    "salun": {"epochs": 1},
    "dmm, linearised": {"attribution": "linearised:samples=12", "steps": 4},
    "dmm, trak": {"attribution": "trak:dimension=8", "steps": 4},
    "retrain": {},
}


@pytest.fixture(scope="module")
def problem():
    return reviews()


@pytest.fixture(scope="module")
def model(problem):
    (module,) = train(problem, "original", [0], seed=0)[0].modules()
    return module


def built(build, *args, **settings):
    with seeded(0):
        return build(*args, **settings)


def test_it_learns_the_reviews(problem, model):
    rows = torch.arange(20)
    outputs = Ensemble.of(model).outputs(problem.task, problem.test, rows)[0]
    (batch,) = problem.test.batches([rows])
    assert (outputs.argmax(1) == batch.targets).float().mean() >= 0.9


@pytest.mark.parametrize("name", METHODS)
def test_a_method_forgets_reviews(problem, model, runtime, name):
    before, state = weights_digest(model), global_state()
    model.train()
    done = forget(
        model, problem, FORGET, method=name.split(",")[0], runtime=runtime, **METHODS[name]
    )
    assert type(done.model) is type(model)
    assert done.model.training
    assert (weights_digest(model), global_state()) == (before, state)
    assert done.card.changed > 0
    assert len(done.problem.present_rows) == 60 - len(FORGET)


def test_it_is_judged_by_ten_oracles(problem, model, runtime, tmp_path):
    done = forget(model, problem, FORGET, method="fine-tune", epochs=1, runtime=runtime)
    given = {"oracles": 10, "out": tmp_path / "out", "runtime": runtime}
    entry = audit(problem, model, done, **given)["methods"]["fine-tune"]
    assert entry["distance"] is not None
    assert entry["changed"] == done.card.changed


@pytest.mark.slow
def test_an_ensemble_of_a_few_is_compared(problem, runtime, tmp_path):
    methods = {"fine-tune": method("fine-tune", epochs=1), "retrain": method("retrain")}
    asked = problem.forgetting(FORGET)
    found = compare(asked, methods, out=tmp_path / "out", runtime=runtime, members=2)
    assert set(found["methods"]) == set(methods)


@pytest.mark.parametrize("build", [distilbert, Prompted], ids=["classifier", "tied weights"])
def test_it_is_saved_with_its_card_and_forgets_more_when_it_is_back(build, runtime, tmp_path):
    problem = reviews(build)
    original = built(build)
    done = forget(original, problem, FORGET, method="fine-tune", epochs=1, runtime=runtime)
    path = done.save(tmp_path / "new")
    card = read_card(path)
    assert card is not None
    assert card.gone() == sorted(FORGET)
    more = forget(path, problem, [5], method="gradient-ascent", runtime=runtime)
    assert more.card.parent == weights_digest(done.model)
    assert more.card.gone() == sorted([*FORGET, 5])
    if build is Prompted:
        inner = more.model.inner
        assert inner.vocab_projector.weight is inner.distilbert.embeddings.word_embeddings.weight


# ---- groups


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_members_train_one_by_one_where_vmap_refuses_and_the_reason_is_said(dropout):
    problem = reviews(lambda: distilbert(dropout=dropout), epochs=1)
    chosen = choose_group(problem, "cpu")
    group, why = chosen.group, chosen.refused
    assert group == 1
    assert why.startswith("torch.func.vmap refuses the model: ")
    models, _ = train(problem, "original", range(2), seed=0, group=group)
    outputs = models.outputs(problem.task, problem.train, torch.arange(5))
    assert outputs.shape == (2, 5, 2)
    assert not torch.equal(outputs[0], outputs[1])


# ---- derivatives


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_derivatives_are_those_of_autograd(problem, attention):
    module = built(distilbert, attention).double()
    here = Point(problem.task, problem.train, module)
    require_row_gradients(here, torch.tensor([0, 7]))
    require_product(here, torch.tensor([1, 4, 9]))


def test_derivatives_in_single_precision_are_right_to_their_digits(problem):
    here = Point(problem.task, problem.train, built(distilbert))
    require_product(here, torch.tensor([1, 4, 9]))


# ---- what does not fit


def test_padding_is_invisible_to_it(problem, model):
    require_fit(problem, Ensemble.of(model))
    for module in (built(distilbert, "eager"), built(Prompted)):
        require_fit(problem, Ensemble.of(module))


def test_a_model_without_a_head_is_refused(problem):
    bare = built(transformers.DistilBertModel, config())
    told = "a model without logits: it gave a BaseModelOutput with last_hidden_state.*ForSequence"
    with pytest.raises(BadInput, match=told):
        require_fit(problem, Ensemble.of(bare))


def test_another_task_is_refused_with_the_one_that_fits(problem, model):
    wrong = replace(problem, task=Classification(2))
    with pytest.raises(BadInput, match="inputs that are a mapping.*use TextClassification"):
        require_fit(wrong, Ensemble.of(model))
    with pytest.raises(BadInput, match=r"outputs of shape \(8, 2\).*classes=3"):
        require_fit(replace(problem, task=TextClassification(3)), Ensemble.of(model))
