"""Toys of the domains to come run a whole comparison; each is the law of a seam."""

import json
from pathlib import Path

import pytest
import torch

import expunge
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import method
from expunge.methods.finetune import _batches
from expunge.rng import seeded
from expunge.store import Store
from expunge.training.from_recipe import train
from tests.toys import denoising, graph, multilabel, sharded

MEMBERS = 12


def compared(problem, methods, folder, group=4):
    runtime = expunge.Runtime(Store(folder / "store"), jobs=1, group=group, progress=False)
    made = expunge.compare(problem, methods, out=folder / "out", runtime=runtime, members=MEMBERS)
    assert json.loads((folder / "out/audit.json").read_text()) == made
    assert expunge.verify(folder / "out") == []
    return made


def read(problem, models, rows, split="train"):
    return models.outputs(problem.task, problem.served(split), torch.tensor(rows))


def test_a_denoising_task_is_compared(tmp_path):
    methods = {name: method(name) for name in ("retrain", "fine-tune", "random-label")}
    made = compared(denoising.problem(), methods, tmp_path)
    assert made["problem"]["kind"] == "denoising"
    assert made["methods"]["fine-tune"]["distance"]["forget"]["rms"] > 0
    assert "denoising" in made["not_measured"].get("accuracy", "denoising")


def test_answers_of_a_row_depend_neither_on_its_batch_nor_on_the_order():
    problem = denoising.problem()
    models, _ = train(problem, "original", (0, 1), seed=0, group=2)
    together = read(problem, models, [5, 3, 9])
    assert torch.equal(read(problem, models, [5]), together[:, :1])
    assert torch.equal(read(problem, models, [9, 5, 3]), together[:, [2, 0, 1]])


def test_retained_and_forgotten_rows_of_a_step_share_no_noise():
    """Streams of the same rows, in the same order, get other noise."""
    problem, rows = denoising.problem(), torch.arange(6)[None]
    with seeded(0):
        group = Ensemble.of(denoising.build())
    draws = expunge.Draws((0, "x")).of([0])
    (one,), (other,) = (
        list(_batches(problem, False, group, iter([rows]), draws, stream)) for stream in (0, 1)
    )
    assert not torch.equal(one.targets, other.targets)


def test_a_graph_is_compared(tmp_path):
    methods = {name: method(name) for name in ("retrain", "fine-tune", "gradient-ascent")}
    made = compared(graph.problem(), methods, tmp_path, group=1)
    assert made["methods"]["retrain"]["verdict"]


def test_nothing_of_a_forgotten_node_reaches_an_oracle():
    def spoilt(features):
        features = features.clone()
        features[[0, 1, 2]] = float("nan")
        return features

    whole, blind = graph.problem(), graph.problem(features=spoilt)
    for role in ("oracle", "retrain"):
        (a, _), (b, _) = (train(p, role, (0, 1), seed=0) for p in (whole, blind))
        assert all(torch.equal(a.tensors()[n], b.tensors()[n]) for n in a.tensors())
        kept = [3, 7, 20]
        assert torch.equal(read(whole, a, kept), read(blind, b, kept))
        assert torch.equal(read(whole, a, [0, 5], "test"), read(blind, b, [0, 5], "test"))
    originals, _ = train(whole, "original", (0,), seed=0)
    with pytest.raises(BadInput, match="NaN"):
        train(blind, "original", (0,), seed=0)
    assert len(originals.ids) == 1


def test_a_second_request_does_not_see_nodes_of_the_first():
    def spoilt(features):
        features = features.clone()
        features[[0, 1, 2]] = float("nan")
        return features

    again = graph.problem(features=spoilt).without(torch.tensor([0, 1, 2])).forgetting([3])
    models, _ = train(again, "original", (0,), seed=0)
    assert all(tensor.isfinite().all() for tensor in models.tensors().values())


def test_sharded_models_are_compared(tmp_path):
    methods = {"retrain": method("retrain"), "forget-in-shards": sharded.ForgetInShards()}
    made = compared(sharded.problem(), methods, tmp_path, group=1)
    entry = made["methods"]["forget-in-shards"]
    assert entry["claim_detail"] == {"shards": sharded.SHARDS, "left out": "nothing"}
    assert "shards: 4" in (tmp_path / "out/report.html").read_text()


def test_sharded_unlearning_is_sharded_retraining():
    problem = sharded.problem()
    models, _ = train(problem, "original", (0, 1, 2), seed=5)
    forgot = sharded.ForgetInShards()(problem, models, seed=5).models
    draws = expunge.Draws((5, "train", "original"))
    again, _ = problem.training(problem, problem.retain, (0, 1, 2), draws, "cpu")
    assert torch.equal(forgot.weights, again.weights)
    assert not torch.equal(forgot.weights, models.weights)


def test_methods_of_ensembles_refuse_sharded_models_before_any_is_trained(tmp_path):
    with pytest.raises(BadInput, match="fine-tune on models of ShardedRidge.*choose retrain"):
        compared(sharded.problem(), {"fine-tune": method("fine-tune")}, tmp_path)
    assert not list((tmp_path / "store").glob("models/*"))


def test_a_task_of_a_third_party_is_compared(tmp_path):
    methods = {
        name: method(name)
        for name in ("retrain", "fine-tune", "random-label", "oracle-matching", "dm-direct")
    }
    made = compared(multilabel.problem(), methods, tmp_path)
    assert made["problem"]["kind"] == "multi-label"
    text = Path(multilabel.__file__).read_text()
    assert "from expunge." not in text


def test_a_method_that_does_not_fit_the_task_is_refused_before_any_model(tmp_path):
    with pytest.raises(BadInput, match="boundary-shrink on a multi-label"):
        compared(multilabel.problem(), {"boundary-shrink": method("boundary-shrink")}, tmp_path)
    assert not list((tmp_path / "store").glob("models/*"))


def test_what_is_served_of_a_node_does_not_depend_on_its_batch():
    """Node 20 beside forgotten node 0 holds what it holds without it."""
    problem = graph.problem(forget=range(12))
    served, rows = problem.served(), torch.tensor([0, 20, 30])
    (mixed,) = served.batches([rows])
    (kept,) = served.batches([rows[1:]])
    (gone,) = served.batches([rows[:1]])
    assert torch.equal(mixed.inputs[1:], kept.inputs)
    assert torch.equal(mixed.inputs[:1], gone.inputs)
    (before,) = problem.train.batches([rows])
    assert torch.equal(gone.inputs, before.inputs[:1])
    assert not torch.equal(kept.inputs, before.inputs[1:])
