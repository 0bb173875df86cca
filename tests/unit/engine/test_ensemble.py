"""Ensemble: members in and out, whole modules, groups, modes; Shifted."""

import copy
from dataclasses import replace
from functools import wraps

import pytest
import torch
from torch import nn

from expunge.contract.problems import (
    CLASSES,
    Reassigning,
    Tied,
    batchnorm,
    blobs,
    dropout,
    half_frozen,
    mlp,
    ridge,
    tiny,
)
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Change, ChangeTable, Shifted
from expunge.errors import BadInput
from expunge.rng import seeded
from expunge.training.from_recipe import train

BUILDS = {
    "mlp": mlp,
    "batch norm": batchnorm,
    "half frozen": half_frozen,
    "tied": Tied,
    "a buffer of its own": Reassigning,
}
builds = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
ROWS = torch.arange(60)


def members(build, count=4):
    made = []
    for k in range(count):
        with seeded(k):
            made.append(build())
    return made


def equal(first, second) -> bool:
    first, second = first.tensors(), second.tensors()
    return first.keys() == second.keys() and all(
        torch.equal(first[n], second[n]) and first[n].dtype == second[n].dtype for n in first
    )


def state(module):
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


# ---- round trips


@builds
@pytest.mark.parametrize("count", [1, 4])
def test_modules_are_the_modules_that_were_stacked(build, count):
    made = members(build, count)
    ensemble = Ensemble.stack(made, range(count), group=2)
    for one, other in zip(made, ensemble.modules(), strict=True):
        a, b = one.state_dict(), other.state_dict()
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
        grads = {n: p.requires_grad for n, p in one.named_parameters()}
        assert grads == {n: p.requires_grad for n, p in other.named_parameters()}


@builds
@pytest.mark.parametrize("count", [1, 4])
def test_tensors_are_kept_and_loaded(build, count):
    ensemble = Ensemble.stack(members(build, count), range(3, 3 + count), group=2)
    tensors = ensemble.tensors()
    assert all(t.shape[0] == count and not t.requires_grad for t in tensors.values())
    (fresh,) = members(build, 1)
    loaded = Ensemble.load(fresh, tensors, ensemble.ids, 2)
    assert equal(loaded, ensemble)
    assert loaded.ids == ensemble.ids
    assert loaded.weights().keys() == ensemble.weights().keys()


@builds
@pytest.mark.parametrize("group", [1, 2, 3, 50])
def test_groups_are_the_members_in_blocks(build, group):
    ensemble = Ensemble.stack(members(build), range(4), group)
    parts = list(ensemble.groups())
    assert [len(part) for part in parts] == {1: [1] * 4, 2: [2, 2], 3: [3, 1], 50: [4]}[group]
    assert [i for part in parts for i in part.ids] == [0, 1, 2, 3]
    assert equal(Ensemble.concat(parts), ensemble)


@pytest.mark.parametrize("group", [1, 2])
def test_groups_and_modules_are_copies(group):
    ensemble = Ensemble.stack(members(batchnorm), range(4), group)
    before = {name: t.clone() for name, t in ensemble.tensors().items()}
    with torch.no_grad():
        for part in ensemble.groups():
            for weight in part.weights().values():
                weight.add_(1.0)
        for module in ensemble.modules():
            for tensor in state(module).values():
                tensor.add_(1)
    assert all(torch.equal(before[n], t) for n, t in ensemble.tensors().items())


def test_an_ensemble_of_one_is_the_users_module_but_its_groups_are_not():
    module = mlp_with_hook()
    ensemble = Ensemble.of(module, 5)
    assert next(ensemble.modules()) is module
    assert ensemble.ids == (5,)
    (part,) = ensemble.groups()
    assert part.template is not module
    ensemble.outputs(tiny().task, tiny().train, ROWS)
    assert module.calls > 0


def mlp_with_hook():
    with seeded(0):
        module = mlp()
    module.calls = 0

    def count(m, args, output):
        module.calls += 1

    module.register_forward_hook(count)
    return module


def test_frozen_parameters_that_are_equal_are_kept_once():
    same = Ensemble.stack(members(half_frozen), range(4), 4)
    assert "0.weight" not in same.stacked
    assert same.weights().keys() == {"2.weight", "2.bias"}
    made = members(half_frozen)
    with torch.no_grad():
        made[1][0].weight.add_(1.0)
    own = Ensemble.stack(made, range(4), 4)
    assert own.stacked["0.weight"].shape[0] == 4
    assert not own.stacked["0.weight"].requires_grad
    assert own.weights().keys() == same.weights().keys()


def test_frozen_parameters_stay_through_a_training():
    problem = tiny(half_frozen)
    for group in (1, 3):
        models, _ = train(problem, "original", range(3), seed=0, group=group)
        fixed = half_frozen_weight()
        assert all(torch.equal(w, fixed) for w in models.tensors()["0.weight"])


def half_frozen_weight():
    with seeded(0):
        return half_frozen()[0].weight.detach()


def test_tied_weights_stay_one():
    problem = tiny(Tied)
    for group in (1, 3):
        models, _ = train(problem, "original", range(3), seed=0, group=group)
        assert "second.weight" not in models.tensors()
        for module in models.modules():
            assert module.second.weight is module.first.weight
        alone = torch.stack([m.eval()(problem.train.inputs) for m in models.modules()])
        assert torch.allclose(alone, models.outputs(problem.task, problem.train, ROWS), atol=1e-6)


# ---- running


@builds
@pytest.mark.parametrize("group", [1, 3, 4])
def test_outputs_are_those_of_each_module(build, group):
    problem = tiny()
    ensemble = Ensemble.stack(members(build), range(4), group)
    rows = torch.tensor([7, 7, 0, 59])
    found = ensemble.outputs(problem.task, problem.train, rows)
    assert found.shape == (4, 4, CLASSES)
    assert found.dtype == torch.float32
    with torch.no_grad():
        wanted = torch.stack([m.eval()(problem.train.inputs[rows]) for m in ensemble.modules()])
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("group", [1, 4])
def test_batch_norm_buffers_move_with_each_members_own_rows(group):
    """Under vmap as in a loop, num_batches_tracked included."""
    models, _ = train(tiny(batchnorm, epochs=2), "original", range(4), seed=0, group=group)
    found = models.tensors()
    assert found["1.num_batches_tracked"].tolist() == [6] * 4
    assert len(found["1.running_mean"].unique(dim=0)) == 4
    again, _ = train(tiny(batchnorm, epochs=2), "original", range(4), seed=0, group=1)
    assert torch.allclose(found["1.running_var"], again.tensors()["1.running_var"], rtol=1e-4)


def test_judging_moves_no_buffer_and_draws_nothing():
    problem = tiny()
    for build in (batchnorm, dropout):
        for group in (1, 4):
            ensemble = Ensemble.stack(members(build), range(4), group)
            before = {n: t.clone() for n, t in ensemble.tensors().items()}
            first = ensemble.outputs(problem.task, problem.train, ROWS)
            assert torch.equal(first, ensemble.outputs(problem.task, problem.train, ROWS))
            assert all(torch.equal(before[n], t) for n, t in ensemble.tensors().items())


@pytest.mark.parametrize("fails", [False, True])
def test_mode_puts_every_submodules_flag_back(fails):
    (module,) = members(batchnorm, 1)
    module.train()
    module[1].eval()
    before = [m.training for m in module.modules()]
    try:
        with Ensemble.of(module).mode(training=False):
            assert not any(m.training for m in module.modules())
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert [m.training for m in module.modules()] == before


def test_rows_can_be_many():
    """More than are read at a time, in the order asked for."""
    problem, data = tiny(), blobs(2500, 4)
    ensemble = Ensemble.stack(members(mlp, 2), range(2), 2)
    rows = torch.arange(2500).flip(0)
    found = ensemble.outputs(problem.task, data, rows)
    few = ensemble.outputs(problem.task, data, rows[:3])
    assert torch.allclose(found[:, :3], few, atol=1e-6)
    assert torch.allclose(found[0, -1], next(ensemble.modules())(data.inputs[0]), atol=1e-6)


def test_outputs_that_are_not_finite_name_the_member_and_the_row():
    problem = tiny()
    made = members(mlp)
    with torch.no_grad():
        made[2][2].bias[0] = float("nan")
    ensemble = Ensemble.stack(made, [10, 11, 12, 13], 4)
    with pytest.raises(BadInput, match="outputs of member 12 hold NaN or infinity, first at row 7"):
        ensemble.outputs(problem.task, problem.train, ROWS[7:])


def test_a_model_of_another_shape_is_refused():
    problem = tiny()
    ensemble = Ensemble.of(nn.Flatten())
    with pytest.raises(BadInput, match=r"the model gave outputs of shape \(60, 6\)"):
        ensemble.outputs(problem.task, problem.train, ROWS)


def test_regression_outputs_keep_their_last_axis():
    problem = ridge(epochs=1)
    models, _ = train(problem, "original", [0, 1], seed=0, group=2)
    assert models.outputs(problem.task, problem.train, ROWS[:5]).shape == (2, 5, 1)


def test_to_the_same_device_is_no_copy():
    ensemble = Ensemble.stack(members(mlp, 2), range(2), 2)
    assert ensemble.to("cpu") is ensemble
    assert ensemble.device == torch.device("cpu")


def test_half_precision_weights_are_kept_as_they_are():
    """A user's model in bfloat16 is judged in float32 and comes back in bfloat16."""
    (module,) = members(mlp, 1)
    ensemble = Ensemble.of(module.bfloat16())
    data = blobs(10, 1, torch.bfloat16)
    assert ensemble.outputs(tiny().task, data, torch.arange(10)).dtype == torch.float32
    assert next(iter(ensemble.tensors().values())).dtype == torch.bfloat16


# ---- Shifted


def table(problem, size=1.0):
    return ChangeTable(
        {
            name: Change(torch.full((len(data), CLASSES), size + k), torch.ones(len(data), CLASSES))
            for k, (name, data) in enumerate(problem.splits.items())
        }
    )


def test_shifted_outputs_are_the_ensembles_plus_the_change_of_their_split():
    problem = tiny()
    ensemble = Ensemble.stack(members(mlp, 2), [4, 5], 2)
    shifted = Shifted(ensemble, table(problem), problem.splits)
    assert shifted.ids == (4, 5)
    for k, (_, data) in enumerate(problem.splits.items()):
        rows = torch.tensor([5, 2])
        found = shifted.outputs(problem.task, data, rows)
        own = ensemble.outputs(problem.task, data, rows)
        assert torch.allclose(found - own, torch.full_like(own, 1.0 + k))


def test_a_change_is_looked_up_by_row():
    mean = torch.arange(10.0)[:, None]
    found = ChangeTable({"test": Change(mean, mean + 1)})("test", torch.tensor([7, 0]))
    assert found.mean.tolist() == [[7.0], [0.0]]
    assert found.sd.tolist() == [[8.0], [1.0]]


def test_shifted_refuses_data_that_it_was_not_made_for():
    problem = tiny()
    shifted = Shifted(Ensemble.stack(members(mlp, 2), [0, 1], 2), table(problem), problem.splits)
    copied = copy.copy(problem.test)
    for foreign in (blobs(24, 3), copied, replace(problem, name="x").train.__class__(*xy(problem))):
        with pytest.raises(BadInput, match="asked for other data.*train, validation, test.*dmm"):
            shifted.outputs(problem.task, foreign, torch.arange(3))


def xy(problem):
    return problem.train.inputs, problem.train.targets


def test_a_module_spread_over_devices_stays_where_it_is():
    with seeded(0):
        module, whole = mlp(), Ensemble.of(mlp())
    module[2].to("meta")
    models = Ensemble.of(module)
    assert models.to("meta") is models
    assert whole.to("meta").device.type == "meta"
    assert whole.device.type == "cpu"


def test_a_copy_does_not_move_the_original_by_a_method_wrapped_on_it():
    """As accelerate wraps `to`, which a deep copy alone would share with the original."""
    with seeded(0):
        module = mlp()
    module.to = wraps(module.to)(lambda *given, own=module.to: own(*given))
    moved = Ensemble.of(module).to("meta")
    assert (moved.device.type, Ensemble.of(module).device.type) == ("meta", "cpu")
    (part,) = Ensemble.of(module).groups()
    part.template.to("meta")
    assert Ensemble.of(module).device.type == "cpu"
