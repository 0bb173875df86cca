"""Law 7: neither processes nor groups change a result."""

from functools import partial

import pytest
import torch

from expunge.contract.cases import (
    everywhere,
    gap,
    in_recipe,
    inputs_for,
    optimizers,
    originals,
    run,
    same_bits,
    short,
    weights,
)
from expunge.contract.laws import law
from expunge.contract.problems import ADAM, SGD, batchnorm, batchnorm64, mlp64, tiny, tiny64
from expunge.engine import descend as loop
from expunge.engine.ensemble import Ensemble
from expunge.methods import METHODS, MethodInputs
from expunge.training.from_recipe import train

MOMENTUM = partial(torch.optim.SGD, lr=0.05, momentum=0.9)


def float64_outputs(problem, models) -> torch.Tensor:
    """Outputs on all train rows without a detour over float32."""
    with torch.no_grad():
        found = [m.eval()(problem.train.inputs) for m in models.modules()]
    return torch.stack(found)


@pytest.mark.parametrize("build", [mlp64, batchnorm64])
@pytest.mark.parametrize("role", ["original", "oracle", "subset"])
@pytest.mark.parametrize("optimizer", [SGD, MOMENTUM, ADAM], ids=["SGD", "momentum", "Adam"])
def test_training_in_a_group_is_training_alone(build, role, optimizer):
    """50 steps: 17 epochs of three batches (25 of two for halves)."""
    epochs = 25 if role == "subset" else 17
    problem = tiny64(build, epochs=epochs, optimizer=optimizer, l2=0.01, clip=2.0)
    alone, grouped = (train(problem, role, range(5), seed=2, group=g)[0] for g in (1, 5))
    if optimizer is ADAM:  # it magnifies the rounding of gradients that are nearly zero
        between = float64_outputs(problem, alone) - float64_outputs(problem, grouped)
        assert between.abs().max() < 1e-8
    else:
        assert gap(alone, grouped) < 1e-12


@law("module")
def test_a_method_on_a_group_is_the_method_on_each(kind):
    problem = tiny64(batchnorm64, epochs=17)
    models = originals(problem, 5)
    grouped = Ensemble.stack(list(models.modules()), models.ids, 5)
    length = {"epochs": 17, "steps": 50}
    with optimizers() as used:
        alone, together = (run(problem, kind, m, **length).models for m in (models, grouped))
    if used <= {torch.optim.SGD}:
        assert gap(alone, together) < 1e-12
    else:  # Adam and its like magnify the rounding of gradients that are nearly zero
        between = float64_outputs(problem, alone) - float64_outputs(problem, together)
        assert between.abs().max() < 1e-8


@law("module")
def test_steps_replayed_from_a_trace_change_no_bit(kind, monkeypatch):
    problem = tiny(batchnorm)
    models = Ensemble.stack(list(originals(problem).modules()), range(3), 3)
    found = []
    for least in (2, 10**9):
        monkeypatch.setattr(loop, "LEAST", least)
        found.append(weights(run(problem, kind, models, epochs=8, steps=16).models))
    assert same_bits(*found)


@pytest.mark.parametrize("build", [None, batchnorm], ids=["mlp", "batchnorm"])
@law("alone")
def test_a_member_alone_is_the_member_among_others(kind, build):
    """An ensemble of one holds the module itself; in float32, groups of one, to the last bit."""
    problem = tiny(build) if build else tiny()
    models = originals(problem, 3)
    passed = inputs_for(problem, kind, 3)
    together = short(kind)(problem, models, passed, seed=0).models
    module = list(models.modules())[2]
    alone = short(kind)(problem, Ensemble.of(module, 2), passed, seed=0).models
    assert torch.equal(everywhere(problem, alone)[0], everywhere(problem, together)[2])


@law("start", "module")
def test_groups_of_two_and_one_left_over(kind):
    problem = tiny64()
    models = originals(problem, 5)
    pairs = Ensemble.stack(list(models.modules()), models.ids, 2)
    alone, together = (run(problem, kind, m).models for m in (models, pairs))
    assert together.ids == alone.ids
    assert gap(alone, together) < 1e-9


@law("buffers")
def test_batch_norm_buffers_move_as_the_method_reads_rows(kind):
    problem = tiny(batchnorm)
    models = originals(problem)
    result = run(problem, kind, models)
    assert everywhere(problem, result.models).isfinite().all()
    before, after = weights(models), weights(result.models)
    assert (before["1.running_mean"] != after["1.running_mean"]).all()
    counts = after["1.num_batches_tracked"] - before["1.num_batches_tracked"]
    assert len(counts.unique()) == 1


@law("buffers", exempt=True)
def test_what_says_so_leaves_batch_norm_buffers(kind):
    problem = tiny(batchnorm)
    models = originals(problem)
    result = run(problem, kind, models)
    assert everywhere(problem, result.models).isfinite().all()
    before, after = weights(models), weights(result.models)
    buffers = [n for n, _ in models.template.named_buffers()]
    assert same_bits({n: before[n] for n in buffers}, {n: after[n] for n in buffers})


def taught(problem, models, *teachers) -> list[torch.Tensor]:
    """Outputs after oracle matching with each of these teachers."""
    method = short(METHODS["oracle-matching"])
    results = [method(problem, models, MethodInputs(teachers=t), seed=0) for t in teachers]
    return [everywhere(problem, result.models) for result in results]


def test_each_model_is_taught_by_the_teacher_of_its_number(problem):
    """Another teacher 1 changes what model 1 becomes, and no other model."""
    models, teachers = originals(problem), originals(problem, first=100)
    made = list(teachers.modules())
    (made[1],) = originals(problem, 1, first=200).modules()
    ends = taught(problem, models, teachers, Ensemble.stack(made, range(3), 1))
    assert [torch.equal(a, b) for a, b in zip(*ends, strict=True)] == [True, False, True]


def test_fewer_teachers_than_models_take_turns(problem):
    models, two = originals(problem), originals(problem, 2, first=100)
    made = list(two.modules())
    turns = Ensemble.stack([made[0], made[1], made[0]], range(3), 1)
    assert torch.equal(*taught(problem, models, two, turns))


def test_precision_of_the_recipe_is_kept_by_methods():
    """A bf16 recipe fine-tunes in bf16: the result differs from that of a float32 recipe."""
    problem = tiny()
    models = originals(problem, 1)
    full, half = (
        weights(run(in_recipe(problem, precision=p), METHODS["fine-tune"], models).models)
        for p in ("fp32", "bf16")
    )
    assert not same_bits(full, half)
    assert max(float((full[n] - half[n]).abs().max()) for n in full) < 0.05
