"""A task of a kind that nobody knows is compared, audited and reported by its margins alone."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from expunge.api.audit import audit_evidence
from expunge.api.compare import compare
from expunge.api.verify import verify
from expunge.contract.problems import generator
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.methods import method
from expunge.problem import Problem, Recipe, Task
from expunge.store import Store

MEMBERS, ROWS, PIXELS = 12, 40, 4


class Denoising(Task):
    """The model predicts the noise that was added to a picture; targets are the noise itself."""

    kind = "denoising"

    def prepare(self, batch, draws, training):
        noise = draws.normal(batch.inputs.shape[-2:]).to(batch.inputs)
        noise = noise.expand(batch.inputs.shape)
        return batch._replace(inputs=batch.inputs + noise, targets=noise)

    def outputs(self, model, batch):
        return model(batch.inputs)

    def answers(self, outputs, batch):
        return (outputs - batch.targets).square().mean(-1, keepdim=True).log()

    def loss(self, outputs, batch):
        return (outputs - batch.targets).square().mean(-1)

    def distance(self, outputs, teacher, batch, temperature=1.0):
        return (outputs - teacher).square().mean(-1)

    def margin(self, answers, batch):
        return -answers.squeeze(-1)

    def relabel(self, batch, draws, own=False):
        return batch

    def check(self, outputs, batch):
        assert outputs.shape == batch.targets.shape


def data(seed):
    pictures = torch.randn(ROWS, PIXELS, generator=generator(seed))
    return TensorData(pictures, pictures[:, :2].round())


def net():
    return nn.Linear(PIXELS, PIXELS)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("denoising")
    recipe = Recipe(net, 2, 8, partial(torch.optim.SGD, lr=0.05))
    problem = Problem(Denoising(), data(0), data(1), data(2), recipe).forgetting(range(6))
    runtime = Runtime(Store(out / "store"), jobs=1, group=4, progress=False)
    methods = {"retrain": method("retrain"), "fine-tune": method("fine-tune", epochs=1, lr=0.01)}
    return out, compare(problem, methods, out=out, runtime=runtime, members=MEMBERS)


def test_it_is_judged_by_its_margins(done):
    _, judged = done
    entry = judged["methods"]["retrain"]
    assert entry["verdict_metric"] == "distance"
    assert 0.3 < entry["distance"]["forget"]["rms"] < 3
    assert "accuracy" not in entry
    assert "denoising" in judged["not_measured"]["accuracy"]


def test_it_has_a_page_and_its_numbers_follow_from_the_evidence(done):
    out, _ = done
    assert "made by the task" in (out / "report.html").read_text()
    assert verify(out) == []


def test_its_arrays_alone_can_be_audited_where_margins_are_among_them(done, tmp_path):
    out, judged = done
    again = audit_evidence(out / "evidence", out=tmp_path / "again", kind="denoising")
    for name, entry in judged["methods"].items():
        assert again["methods"][name]["distance"] == entry["distance"]
    with pytest.raises(BadInput, match="holds another|float|C >= 2|shape"):
        audit_evidence(Path(out / "evidence"), out=tmp_path / "c", kind="classification")
