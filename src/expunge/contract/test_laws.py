"""Laws 1 to 5 and 9 of docs/architecture.md: every method is run through them."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.cases import (
    exemptions,
    has,
    inputs_for,
    originals,
    run,
    same_bits,
    short,
    weights,
)
from expunge.contract.fixtures import changed_since, global_state
from expunge.contract.laws import LAWS, law
from expunge.contract.problems import batchnorm, generator, tiny, with_nan
from expunge.errors import BadInput
from expunge.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_exempt_from_known_laws_only(name):
    assert exemptions(METHODS[name]).keys() <= LAWS.keys()


# ---- law 1: no forget rows


@law("identity without rows")
def test_without_forget_rows_nothing_changes(kind):
    problem = tiny(forget=())
    models = originals(problem)
    result = run(problem, kind, models)
    assert same_bits(weights(result.models), weights(models))
    assert result.changed == 0.0
    assert result.reason
    assert result.cost.row_units == 0


# ---- law 2: forget rows


@law("change")
def test_with_forget_rows_some_weight_changes(kind, problem):
    models = originals(problem)
    result = run(problem, kind, models)
    before, after = weights(models), weights(result.models)
    largest = max(float((after[n] - before[n]).abs().max()) for n in before)
    assert result.changed == pytest.approx(largest, abs=0)
    assert result.changed > 0
    assert not result.reason


@law("change", exempt=True)
def test_where_no_weight_changes_there_is_a_reason(kind, problem):
    models = originals(problem)
    result = run(problem, kind, models)
    assert same_bits(weights(result.models), weights(models))
    assert result.changed == 0.0
    assert result.reason


# ---- law 3: nothing passed in is changed


@law("global state")
def test_global_state_is_as_before(kind, problem):
    models = originals(problem)
    before = global_state()
    run(problem, kind, models)
    assert not changed_since(before)


@law("arguments")
@pytest.mark.parametrize("group", [1, 3])
def test_nothing_passed_in_is_changed(kind, group):
    problem = tiny(batchnorm)
    models = originals(problem, group=group)
    models.template.train()
    models.template[1].eval()  # flags of submodules are the user's, too
    passed = inputs_for(problem, kind, mask={"0.bias": torch.zeros(8, dtype=torch.bool)})
    teachers = passed.teachers
    data = [problem.train.inputs, problem.train.targets, problem.forget, problem.validation.inputs]
    state = [weights(models), weights(teachers) if teachers else {}, [t.clone() for t in data]]
    flags = [module.training for module in models.template.modules()]
    grads = {n: w.grad for n, w in models.weights().items()}

    short(kind)(problem, models, passed, seed=0)

    assert same_bits(weights(models), state[0])
    assert not teachers or same_bits(weights(teachers), state[1])
    assert all(torch.equal(a, b) for a, b in zip(data, state[2], strict=True))
    assert [module.training for module in models.template.modules()] == flags
    assert all(w.grad is grads[n] for n, w in models.weights().items())


@law("arguments")
def test_a_lone_module_is_not_changed(kind):
    problem = tiny(batchnorm)
    models = originals(problem, 1)
    module = models.template
    before = {key: value.clone() for key, value in module.state_dict().items()}
    grads = {key: p.grad for key, p in module.named_parameters()}
    run(problem, kind, models)
    assert same_bits(module.state_dict(), before)
    assert all(p.grad is grads[key] for key, p in module.named_parameters())


# ---- law 4: seeds and order


@law("same seed")
def test_same_seed_same_bits_and_order_of_rows_is_irrelevant(kind, problem):
    models = originals(problem)
    first = weights(run(problem, kind, models, seed=3).models)
    again = weights(run(problem, kind, models, seed=3).models)
    shuffled = problem.forgetting(problem.forget.flip(0).tolist())
    assert same_bits(first, again)
    assert same_bits(first, weights(run(shuffled, kind, models, seed=3).models))


@law("seed")
def test_another_seed_gives_another_result(kind, problem):
    models = originals(problem)
    first, other = (run(problem, kind, models, seed=seed) for seed in (0, 1))
    assert not same_bits(weights(first.models), weights(other.models))


@law("seed")
def test_members_draw_for_themselves(kind, problem):
    """Two members with the same weights and other numbers come out different."""
    models = originals(problem, 1)
    ends = []
    for member in (0, 1):
        models.ids = (member,)
        ends.append(weights(run(problem, kind, models).models))
    assert not same_bits(*ends)


# ---- law 5: lr = 0


@law("lr", of=has("lr"))
def test_without_a_learning_rate_parameters_stay(kind):
    problem = tiny(batchnorm, l2=0.1)
    models = originals(problem)
    result = run(problem, kind, models, lr=0.0)
    before, after = weights(models), weights(result.models)
    trainable = dict(models.template.named_parameters())
    assert same_bits({n: before[n] for n in trainable}, {n: after[n] for n in trainable})
    assert result.changed == 0.0


# ---- law 6, for all methods: a row may be NaN exactly if it is not read


@law("forgotten rows are read", exempt=True)
def test_forgotten_rows_are_not_read(kind, problem):
    models = originals(problem)
    blind = with_nan(problem, problem.forget)
    clean, hidden = (run(p, kind, models) for p in (problem, blind))
    assert same_bits(weights(clean.models), weights(hidden.models))


@law("forgotten rows are read")
def test_a_row_that_is_read_must_be_finite(kind, problem):
    models, passed = originals(problem), inputs_for(problem, kind)
    broken = with_nan(problem, problem.forget)
    with pytest.raises(
        BadInput, match=r"rows that are read hold NaN or infinity, first row (3|7|11|19|30|58)\."
    ):
        short(kind)(broken, models, passed, seed=0)


@law("present")
def test_rows_deleted_earlier_are_never_read(kind, problem):
    """`present` is what keeps a second request from teaching the first one's rows again."""
    gone = torch.tensor([0, 20, 40])
    models = originals(problem)
    results = []
    for data in (problem, with_nan(problem, gone)):
        asked = data.without(gone)
        results.append(weights(run(asked, kind, models).models))
    assert same_bits(*results)


# ---- law 9: masked weights


@law("mask")
@pytest.mark.parametrize("group", [1, 3])
def test_masked_weights_keep_their_bits(kind, group):
    """With momentum, with the recipe's l2, in a network with batch norm."""
    problem = tiny(batchnorm, l2=0.1)
    models = originals(problem, group=group)
    mask = {
        n: torch.rand(p.shape, generator=generator(k)) < 0.5
        for k, (n, p) in enumerate(models.template.named_parameters())
        if n != "3.bias"  # no entry: it may move
    }
    passed = replace(inputs_for(problem, kind), mask=mask)
    result = short(kind)(problem, models, passed, seed=0)
    before, after = weights(models), weights(result.models)
    for n, may_move in mask.items():
        assert same_bits({n: before[n][:, ~may_move]}, {n: after[n][:, ~may_move]})
        if n != "0.bias":  # batch norm takes every constant out: no gradient
            assert (before[n][:, may_move] != after[n][:, may_move]).float().mean() > 0.5
    assert (before["3.bias"] != after["3.bias"]).all()
