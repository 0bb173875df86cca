"""History: how models arose, told again from their seeds."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch

from expunge.contract.cases import gap, same_bits, weights
from expunge.contract.problems import FORGET, ROWS, SGD, batchnorm, mlp64, tiny, tiny64, with_nan
from expunge.errors import BadInput
from expunge.problem.recipe import cosine
from expunge.training.from_recipe import train
from expunge.training.unrolled.history import History
from expunge.training.unrolled.plain_sgd import departures

IDS = (0, 1, 2)


def history(problem, **changed):
    return History(problem, IDS, 3, **changed)


def trained(problem, group=1):
    return train(problem, "original", IDS, seed=3, group=group)[0]


def jitter(batch, draws):
    return batch._replace(inputs=batch.inputs + 0.1 * draws.normal(batch.inputs.shape[-2:]))


def by_hand(problem, member, left_out=(), steps=None):
    """Weights of one member of a float64 perceptron after plain SGD, from its start and plan."""
    told = history(problem).of([member])
    (module,) = told.start().modules()
    for step in range(told.steps if steps is None else steps):
        rows = told.plan[0, step]
        kept = rows[~torch.isin(rows, torch.tensor(left_out, dtype=torch.int64))]
        if not len(kept):
            continue
        logits = module(problem.train.inputs[kept])
        losses = torch.nn.functional.cross_entropy(logits, problem.train.targets[kept])
        loss = losses * len(kept) / len(rows)
        rate = 0.1 * problem.recipe.schedule(step / told.steps)
        grads = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for w, g in zip(module.parameters(), grads, strict=True):
                w -= rate * g
    return {name: p.detach()[None] for name, p in module.named_parameters()}


def largest(a, b):
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_it_begins_where_the_training_began():
    problem = tiny64(schedule=cosine)
    for k, member in enumerate(IDS):
        end = {n: t[k : k + 1] for n, t in weights(trained(problem)).items()}
        assert largest(by_hand(problem, member), end) < 1e-12


@pytest.mark.parametrize("group", [1, 3])
def test_the_plan_is_what_each_step_read(group):
    read = []

    def listening(batch, draws):
        read.append(batch.rows.clone())
        return batch

    problem = tiny(augment=listening)
    train(problem, "original", IDS, seed=3, group=group)
    plan = history(problem, group=group).plan
    found = torch.stack(read)  # (steps, 3, B), or each member's steps one after the other
    if group == 1:
        found = found.squeeze(1).reshape(3, -1, 16).transpose(0, 1)
    assert torch.equal(plan.transpose(0, 1), found)


def test_each_epoch_has_an_order_of_its_own_unless_it_is_not_to_be_shuffled_again():
    fresh, same = (
        history(tiny(reshuffle=again)).plan.reshape(3, 3, 3, 16) for again in (True, False)
    )
    assert not torch.equal(fresh[:, 0], fresh[:, 1])
    assert torch.equal(fresh[:, 0], same[:, 0])
    assert torch.equal(same[:, 0], same[:, 2])
    assert not torch.equal(same[0], same[1])


def test_training_without_shuffling_again_is_another_training():
    assert not same_bits(weights(trained(tiny())), weights(trained(tiny(reshuffle=False))))


@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("build", [None, batchnorm], ids=["mlp", "batchnorm"])
def test_all_updates_together_lead_from_the_start_to_the_end(group, build):
    problem = tiny(build) if build else tiny()
    told = history(problem, group=group)
    every = told.updates(torch.arange(ROWS))
    begin, end = weights(told.start()), weights(trained(problem, group))
    assert every.keys() == dict(trained(problem).template.named_parameters()).keys()
    for name, moved in every.items():
        assert torch.equal((begin[name].double() + moved).float(), end[name])


def test_updates_are_those_of_the_steps_that_held_a_row():
    """By hand: the member is trained step by step, and steps with a row of F are summed."""
    problem = tiny64()
    told = history(problem)
    found = told.updates(torch.tensor(FORGET[:2]))
    for k, member in enumerate(IDS):
        held = torch.isin(told.plan[k], torch.tensor(FORGET[:2])).any(-1)
        assert 0 < held.sum() < told.steps
        states = [by_hand(problem, member, steps=s) for s in range(told.steps + 1)]
        for name, moved in found.items():
            steps = [states[s + 1][name] - states[s][name] for s in held.nonzero().flatten()]
            assert torch.allclose(moved[k], torch.stack(steps).sum(0)[0], atol=1e-12)


def test_steps_that_an_earlier_request_took_back_are_not_taken_back_again():
    told = history(tiny64())
    first, second = torch.tensor(FORGET[:2]), torch.tensor(FORGET[2:])
    once, both = told.updates(first), told.updates(torch.tensor(FORGET))
    rest = told.updates(second, gone=first)
    for name in both:
        assert torch.allclose(once[name] + rest[name], both[name], atol=1e-12)


def test_shares_are_the_schedule_over_the_size_of_the_batch():
    problem = tiny(schedule=cosine)
    told = history(problem)
    start = told.start()
    rows = torch.tensor(FORGET)
    wanted = torch.zeros(3, len(rows), dtype=torch.float64)
    for k in range(3):
        for step in range(told.steps):
            for i, row in enumerate(FORGET):
                if row in told.plan[k, step].tolist():
                    wanted[k, i] += cosine(step / told.steps) / 16
    assert torch.allclose(told.shares(start, rows), wanted, atol=1e-12)


def test_parameters_may_have_rates_of_their_own():
    def optimizer(named):
        heads = [p for n, p in named if n.startswith("2")]
        body = [p for n, p in named if not n.startswith("2")]
        return torch.optim.SGD([{"params": heads, "lr": 0.5}, {"params": body}], lr=0.1)

    told = history(tiny(optimizer=optimizer))
    full, factors = told.rates(told.start())
    assert full == {"0.weight": 0.1, "0.bias": 0.1, "2.weight": 0.5, "2.bias": 0.5}
    assert factors.tolist() == [1.0] * told.steps


# ---- naive retraining


def test_naive_retraining_leaves_rows_out_of_their_steps():
    problem = tiny64(schedule=cosine)
    found = history(problem).without(torch.tensor(FORGET))
    assert found.ids == IDS
    for k, member in enumerate(IDS):
        own = {n: t[k : k + 1] for n, t in weights(found).items()}
        assert largest(by_hand(problem, member, FORGET), own) < 1e-12


def test_a_step_with_nothing_left_is_left_out():
    problem = tiny64(epochs=2, reshuffle=False)
    told = history(problem).of([1])
    batch = told.plan[0, 1]
    seen = []
    end = told.without(batch, watch=lambda step, models: seen.append((step, weights(models))))
    states = dict(seen)
    assert list(states) == list(range(told.steps + 1))
    assert same_bits(states[1], states[2])  # the second batch
    assert not same_bits(states[0], states[1])
    assert largest(by_hand(problem, 1, batch.tolist()), weights(end)) < 1e-12


def test_a_step_left_out_still_counts_for_the_schedule():
    problem = tiny64(epochs=1, schedule=cosine)
    told = history(problem).of([0])
    first = told.plan[0, 0]
    end = weights(told.without(first))
    assert largest(by_hand(problem, 0, first.tolist()), end) < 1e-12


@pytest.mark.parametrize(
    "settings", [{}, {"augment": jitter}, {"l2": 0.1, "clip": 0.5, "ema": 0.9}]
)
def test_naive_retraining_never_reads_what_is_left_out(settings):
    problem = tiny(batchnorm, **settings)
    told, blind = history(problem), history(with_nan(problem, list(FORGET)))
    rows = torch.tensor(FORGET)
    assert same_bits(weights(told.without(rows)), weights(blind.without(rows)))
    with pytest.raises(BadInput, match="hold NaN or infinity"):
        blind.without(rows[1:])


@pytest.mark.parametrize("settings", [{}, {"augment": jitter, "l2": 0.1, "ema": 0.9}])
def test_leaving_nothing_out_is_the_training_itself(settings):
    problem = tiny(batchnorm, **settings)
    nothing = torch.empty(0, dtype=torch.int64)
    assert same_bits(weights(history(problem).without(nothing)), weights(trained(problem)))


def test_where_every_step_is_left_out_the_model_stays_as_it_began():
    problem = tiny64(epochs=1, batch_size=50, augment=jitter)
    told = history(problem).of([0])
    end = told.without(told.plan.flatten())  # all rows that were ever read; ten are left
    assert same_bits(weights(end), weights(told.start()))


def test_rows_that_stay_are_augmented_as_they_were():
    """What is left of each batch is the same rows with the same noise as in the training."""
    seen = []

    def noting(batch, draws):
        noisy = jitter(batch, draws)
        seen.append((batch.rows[0], noisy.inputs[0]))
        return noisy

    problem = tiny(augment=noting)
    told = history(problem).of([0])
    train(problem, "original", [0], seed=3)
    before, seen[:] = list(seen), []
    told.without(torch.tensor(FORGET))
    for (rows, noisy), (others, again) in zip(before, seen, strict=True):
        stays = ~torch.isin(rows, torch.tensor(FORGET))
        assert torch.equal(rows[stays], others[stays])
        assert torch.equal(noisy[stays], again[stays])


def test_groups_tell_the_same_to_rounding():
    problem = tiny64()
    alone, together = (history(problem, group=g) for g in (1, 3))
    rows = torch.tensor(FORGET)
    a, b = alone.updates(rows), together.updates(rows)
    assert max(float((a[n] - b[n]).abs().max()) for n in a) < 1e-12
    assert gap(alone.without(rows), together.without(rows)) < 1e-12


# ---- what the theory assumes

OTHERS = {
    "Adam": ({"optimizer": partial(torch.optim.Adam, lr=0.01)}, "optimizer Adam"),
    "momentum": ({"optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9)}, "momentum 0.9"),
    "decay": ({"optimizer": partial(torch.optim.SGD, lr=0.1, weight_decay=0.1)}, "weight decay"),
    "clip": ({"clip": 1.0}, "clipping at 1"),
    "ema": ({"ema": 0.9}, "average of weights"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_plain_sgd_is_said(case):
    settings, said = OTHERS[case]
    told = history(tiny(**settings))
    with pytest.warns(UserWarning, match=rf"assumes plain SGD.*{said}"):
        told.start()


def test_plain_sgd_is_not_remarked_on():
    told = history(tiny(optimizer=SGD, l2=0.1, schedule=cosine))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        start = told.start()
    assert departures(told.recipe, start) == []


def test_a_trainer_has_no_history_that_can_be_told():
    def trainer(data, rows, *, seed, device):
        return mlp64()

    with pytest.raises(BadInput, match="a history of models that a function trained"):
        history(replace(tiny(), recipe=trainer))
    with pytest.raises(BadInput, match="no recipe, which is needed to tell how models arose"):
        history(replace(tiny(), recipe=None))
