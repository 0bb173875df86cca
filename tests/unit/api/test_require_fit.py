"""What a request looks at first: outputs that fit the task, and padding that changes none."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from expunge.api.attribute import attribute
from expunge.api.audit import audit
from expunge.api.compare import compare
from expunge.api.forget import forget
from expunge.api.require_fit import require_fit
from expunge.api.trained import train_model
from expunge.api.verification_error import verification_error
from expunge.bench.parsing import parse
from expunge.bench.run import run as bench
from expunge.contract.problems import tiny
from expunge.data import DatasetData, Padding, TensorData
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.problem import Classification, Problem, Recipe, TextClassification
from expunge.rng import seeded

WORDS = 30
LENGTHS = [4, 9, 2, 6, 1, 7, 3, 5, 8, 2] * 3


class Mean(nn.Module):
    def __init__(self, masked=True):
        super().__init__()
        self.words, self.head, self.masked = nn.Embedding(WORDS, 4), nn.Linear(4, 2), masked

    def forward(self, input_ids, attention_mask):
        x = self.words(input_ids)
        m = (attention_mask if self.masked else torch.ones_like(attention_mask))[..., None].to(x)
        return self.head((x * m).sum(-2) / m.sum(-2))


class Last(nn.Module):
    """An LSTM read at the last place, be it a token or padding."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, 4), nn.Linear(4, 2)
        self.lstm = nn.LSTM(4, 4, batch_first=True)

    def forward(self, input_ids, attention_mask):
        return self.head(self.lstm(self.words(input_ids))[0][:, -1])


class Wholesale(nn.Module):
    """Takes the mapping as its one argument."""

    def __init__(self):
        super().__init__()
        self.inner = Mean()

    def forward(self, inputs):
        return self.inner(**inputs)


def rows(side="right", lengths=LENGTHS):
    items = [
        {"input_ids": [(7 * k + j) % (WORDS - 1) + 1 for j in range(n)], "label": k % 2}
        for k, n in enumerate(lengths)
    ]
    return DatasetData(items, collate=Padding(0, side=side))


def question(build=Mean, data=None, task=None):
    data = data or rows()
    recipe = Recipe(build, 1, 8, lambda named: torch.optim.SGD(named, lr=0.1))
    return Problem(task or TextClassification(2), data, data, recipe=recipe)


def look(build, **given):
    with seeded(0):
        module = build()
    require_fit(question(build, **given), Ensemble.of(module))


def blind():
    return Mean(masked=False)


TOLD = r"padding changes the outputs of row \d+ by \d.*Fix: pass attention_mask to the model"


@pytest.mark.parametrize("build", [Mean, lambda: Mean().double(), lambda: Mean().bfloat16()])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_model_that_acts_on_the_mask_is_accepted(build, side):
    look(build, data=rows(side))


@pytest.mark.parametrize("build", [blind, lambda: blind().bfloat16(), Last])
def test_a_model_that_looks_at_padding_is_refused(build):
    with pytest.raises(BadInput, match=TOLD):
        look(build)


def test_it_is_told_which_row_and_beside_which():
    with pytest.raises(BadInput, match="outputs of row 4 by .* beside row 1, which is longer"):
        look(blind)


def test_a_recurrent_model_that_reads_padding_before_a_row_is_refused_too():
    with pytest.raises(BadInput, match=TOLD):
        look(Last, data=rows("left"))


def test_rows_of_one_length_pass_whatever_the_model_does():
    look(blind, data=rows(lengths=[5] * 20))
    inputs, targets = Padding(0)(rows().train)
    look(blind, data=TensorData(inputs, targets))


def test_only_a_mapping_with_a_mask_is_looked_at():
    reads = []

    class Watched(TensorData):
        def batches(self, plan, training=False):
            plan = list(plan)
            reads.extend(len(rows) for rows in plan)
            return super().batches(plan, training)

    problem = tiny()
    data = Watched(problem.train.inputs, problem.train.targets)
    with seeded(0):
        require_fit(replace(problem, train=data), Ensemble.of(problem.recipe.build()))
    assert reads == [8, 8]


def test_a_mapping_that_the_model_cannot_read_names_the_task_that_passes_it_by_name():
    with pytest.raises(
        BadInput, match="cannot read inputs that are a mapping .*missing 1 required"
    ):
        look(Mean, task=Classification(2))
    look(Wholesale, task=Classification(2))


def test_another_error_of_the_model_keeps_its_kind():
    class Broken(Mean):
        def forward(self, input_ids, attention_mask):
            return input_ids + "text"

    with pytest.raises(TypeError, match="unsupported operand"):
        look(Broken)


# ---- every request begins with it


def test_forget_refuses_a_model_that_looks_at_padding(runtime):
    with pytest.raises(BadInput, match=TOLD), seeded(0):
        forget(blind(), question(blind), [3], method="fine-tune", runtime=runtime)


def test_audit_refuses_before_oracles_are_made(runtime, tmp_path):
    with seeded(0):
        models = blind(), blind()
    with pytest.raises(BadInput, match=TOLD):
        audit(question(blind).forgetting([3]), *models, out=tmp_path / "o", runtime=runtime)
    assert not any(path.name.startswith("models") for path in runtime.store.root.rglob("*"))


def test_compare_refuses_before_models_are_made(runtime, tmp_path):
    problem, methods = question(blind).forgetting([3]), {"fine-tune": METHODS["fine-tune"]()}
    with pytest.raises(BadInput, match=TOLD):
        compare(problem, methods, out=tmp_path / "o", runtime=runtime, members=2)


@pytest.mark.parametrize(
    "ask",
    [partial(attribute, models=20, out="o"), partial(train_model, out="o"), verification_error],
    ids=["attribute", "train", "verification-error"],
)
def test_whoever_trains_refuses_before(runtime, tmp_path, monkeypatch, ask):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=TOLD):
        ask(question(blind).forgetting([3]), runtime=runtime)
    assert not any(path.name.startswith("models") for path in runtime.store.root.rglob("*"))
    assert not list(tmp_path.rglob("*.safetensors"))


class Late(Mean):
    """It looks at padding, which its head hides until it is trained."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)

    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids, torch.ones_like(attention_mask))


def test_compare_looks_again_at_a_trained_model(runtime, tmp_path):
    problem, methods = question(Late).forgetting([3]), {"fine-tune": METHODS["fine-tune"]()}
    with pytest.raises(BadInput, match=TOLD):
        compare(problem, methods, out=tmp_path / "o", runtime=runtime, members=2)
    assert not list((tmp_path / "o").iterdir())


def test_a_benchmark_refuses_before_models_are_made(runtime, tmp_path):
    content = {
        "name": "text",
        "problem": "text",
        "forget": [{"name": "some", "kind": "random", "share": 0.2}],
        "method": [{"name": "fine-tune"}],
    }
    with pytest.raises(BadInput, match=TOLD):
        bench(parse(content), question(blind), tmp_path / "o", runtime)
