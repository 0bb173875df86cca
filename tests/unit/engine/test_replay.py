"""A traced step is the step: the same bits, or it is not used."""

from functools import partial

import pytest
import torch
from torch import nn

from expunge.contract.cases import same_bits
from expunge.contract.problems import (
    ADAM,
    Tied,
    batchnorm,
    batchnorm64,
    generator,
    half_frozen,
    mlp,
    tiny,
    tiny64,
)
from expunge.data import Batch
from expunge.engine import descend as loop
from expunge.engine.ensemble import Ensemble
from expunge.engine.replay import LEAST, SHAPES, Gradients
from expunge.errors import BadInput
from expunge.problem.sd_penalty import SDPenalty
from expunge.rng import seeded
from expunge.training.from_recipe import train

MEMBERS = 3


class Pictures(nn.Module):
    """Convolution, batch norm and pooling."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 3))

    def forward(self, x):
        return self.head(self.body(x.repeat(1, 2)[:, :8].reshape(-1, 2, 2, 2)))


class Counting(nn.Module):
    """Its answer depends on how often it was asked, of which a trace knows nothing."""

    def __init__(self):
        super().__init__()
        self.net, self.asked = mlp(), 0

    def forward(self, x):
        self.asked += 1
        return self.net(x) * (1 + 0.01 * self.asked)


class Warming(nn.Module):
    """It counts in a tensor that is no buffer."""

    def __init__(self):
        super().__init__()
        self.net, self.asked = mlp(), torch.zeros(())

    def forward(self, x):
        self.asked += 1
        return self.net(x) * (1 - 0.5**self.asked)


class Twice(nn.Module):
    """Two weights that are added to one another have one gradient."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.a, self.b = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x):
        return self.net(x + (self.a + self.b))


class Masking(nn.Module):
    """With a buffer of truths and an empty one, as attention has them."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.register_buffer("kept", torch.tensor([True, False, True, True, True, True]))
        self.register_buffer("nothing", torch.empty(0))

    def forward(self, x):
        return self.net(x * self.kept)


@pytest.fixture
def steps(monkeypatch):
    """How many steps were replayed; and a way to forbid it."""
    replayed = []

    class Watched(Gradients):
        def _take(self, *found):
            replayed.append(1)
            super()._take(*found)

    monkeypatch.setattr(loop, "Gradients", Watched)
    return replayed


def trained(problem, monkeypatch, least=LEAST):
    monkeypatch.setattr(loop, "LEAST", least)
    return train(problem, "original", range(MEMBERS), seed=0, group=MEMBERS)[0].tensors()


LONG = {"epochs": 34, "batch_size": 20}  # 102 steps
PROBLEMS = {
    "perceptron": partial(tiny, mlp, **LONG),
    "float64": partial(tiny64, batchnorm64, **LONG),
    "batch norm": partial(tiny, batchnorm, **LONG),
    "pictures": partial(tiny, Pictures, **LONG),
    "buffers of truths": partial(tiny, Masking, **LONG),
    "tied": partial(tiny, Tied, **LONG),
    "half frozen": partial(tiny, half_frozen, **LONG),
    "Adam": partial(tiny, mlp, optimizer=ADAM, **LONG),
    "penalty": partial(tiny, mlp, penalty=SDPenalty(0.5), **LONG),
    "one gradient of two weights": partial(tiny, Twice, clip=0.1, l2=0.1, **LONG),
    "clip and l2": partial(tiny, mlp, clip=0.1, l2=0.1, **LONG),
    "ema": partial(tiny, batchnorm, ema=0.9, **LONG),
}


@pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
def test_a_replayed_training_ends_with_the_same_bits(make, monkeypatch, steps):
    problem = make(forget=())
    fast = trained(problem, monkeypatch)
    assert len(steps) == 102 - 2 - 3  # the first is traced; the second, 6th, 18th, 66th compared
    slow = trained(problem, monkeypatch, least=10**9)
    assert len(steps) == 97
    assert same_bits(fast, slow)


def test_a_short_training_is_not_traced(monkeypatch, steps):
    trained(tiny(mlp, forget=(), epochs=13, batch_size=20), monkeypatch)  # 39 steps
    assert not steps


@pytest.mark.parametrize("group", [1, MEMBERS])
def test_one_model_alone_is_not_traced(monkeypatch, steps, group):
    problem = tiny(mlp, forget=(), **LONG)
    train(problem, "original", range(MEMBERS), seed=0, group=group)
    assert bool(steps) == (group > 1)


@pytest.mark.parametrize("build", [Counting, Warming])
def test_what_is_counted_beside_the_model_is_found(monkeypatch, steps, build):
    problem = tiny(build, forget=(), **LONG)
    fast = trained(problem, monkeypatch)
    assert not steps
    assert same_bits(fast, trained(problem, monkeypatch, least=10**9))


# ---- the gradients by themselves


def group(build=mlp, dtype=torch.float32):
    with seeded(0):
        modules = [build().to(dtype) for _ in range(MEMBERS)]
    return Ensemble.stack(modules, range(MEMBERS), MEMBERS)


def batch(seed, rows=8, dtype=torch.float32):
    g = generator(seed)
    inputs = torch.randn(MEMBERS, rows, 6, generator=g, dtype=dtype)
    return Batch(inputs, torch.randint(0, 3, (MEMBERS, rows), generator=g), inputs[..., 0].long())


def gradient(models, objective, *feed, replays=None):
    given = replays or Gradients(models, objective, False)
    for weight in models.weights().values():
        weight.grad = None
    given(*feed)
    return {n: None if w.grad is None else w.grad.clone() for n, w in models.weights().items()}


def alike(one, two):
    return all(
        a is b if a is None or b is None else torch.equal(a, b)
        for a, b in zip(one.values(), two.values(), strict=True)
    )


def trusted(replays):
    return bool(replays._steps) and all(step.trusted for step in replays._steps)


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch.inputs), batch.targets)


def check(objective, feeds, build=mlp):
    """The gradients of replayed steps; each is compared with one that is computed."""
    models, twin = group(build), group(build)
    replays, found = Gradients(models, objective, True), []
    for feed in feeds:
        found.append(gradient(models, objective, *feed, replays=replays))
        assert alike(found[-1], gradient(twin, objective, *feed))
    return replays, found


def test_every_shape_of_feeds_has_a_trace_of_its_own():
    sizes = [8, 5, 8, 5, 8, 8, 5, 5]
    replays, _ = check(cross_entropy, [(batch(k, size),) for k, size in enumerate(sizes)])
    assert trusted(replays)
    assert [step.replayed for step in replays._steps] == [2, 2]


def test_feeds_of_too_many_shapes_are_computed():
    sizes = 2 * [*range(2, 4 + SHAPES)]
    replays, _ = check(cross_entropy, [(batch(k, size),) for k, size in enumerate(sizes)])
    assert len(replays._steps) == SHAPES


def test_a_tensor_that_is_handed_over_twice_is_another_feed_than_two():
    def objective(model, one, other):
        return cross_entropy(model, one) - 0.1 * cross_entropy(model, other)

    twice = [(one, one) for one in map(batch, range(4))]
    apart = [(batch(k), batch(100 + k)) for k in range(4)]
    replays, _ = check(objective, [*twice, *apart, *twice])
    assert len(replays._steps) == 2
    assert trusted(replays)


def test_rows_that_are_looked_up_by_number_are_replayed():
    def objective(model, batch):
        return (model(batch.inputs)[order] * weights).square().mean()

    order, weights = torch.tensor([3, 1, 0, 0]), torch.rand(4, 3, generator=generator(0))
    assert trusted(check(objective, [(batch(k),) for k in range(4)])[0])


def test_a_factor_for_each_member_is_part_of_the_feed():
    def objective(model, batch, factor):
        return cross_entropy(model, batch) * factor

    feeds = [(batch(k), torch.rand(MEMBERS, generator=generator(k))) for k in range(5)]
    assert check(objective, feeds)[0]._steps[0].trusted


def test_a_weight_that_plays_no_part_has_no_gradient():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.idle = mlp(), nn.Linear(2, 2)

        def forward(self, x):
            return self.net(x)

    replays, found = check(cross_entropy, [(batch(k),) for k in range(4)], Idle)
    assert trusted(replays)
    assert found[-1]["idle.weight"] is None


def test_gradients_may_be_changed_in_place():
    """Where the objective is linear, a gradient is the batch itself, or one number everywhere."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.b = nn.Parameter(torch.ones(8, 6)), nn.Parameter(torch.ones(4))
            self.c, self.d = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))

        def forward(self, x):
            constant = (self.b + self.c * torch.full((4,), 2.0)).sum()
            return (self.w * x).sum() + constant + x[0, 0] * self.d.sum()

    models = group(Linear)
    replays = Gradients(models, lambda model, batch: model(batch.inputs), True)
    for k in range(5):
        given = batch(k)
        before = given.inputs.clone()
        found = gradient(models, None, given, replays=replays)
        assert torch.equal(found["w"], before)
        assert torch.equal(found["b"], torch.ones(MEMBERS, 4))
        assert torch.equal(found["c"], torch.full((MEMBERS, 4), 2.0))
        assert torch.equal(found["d"], before[:, 0, :1].expand(MEMBERS, 4))
        for weight in models.weights().values():
            weight.grad.mul_(3)
        assert torch.equal(given.inputs, before)
    assert trusted(replays)


def test_what_cannot_be_written_down_is_computed():
    def objective(model, batch):
        torch.ones(2).nonzero()  # of a shape that numbers decide
        return cross_entropy(model, batch)

    models = group()
    replays = Gradients(models, objective, True)
    for k in range(3):
        found = gradient(models, objective, batch(k), replays=replays)
        assert alike(found, gradient(group(), cross_entropy, batch(k)))
        assert not replays._hopeful  # so nothing is written down again


def test_what_refuses_to_be_watched_is_computed_once(monkeypatch):
    """A model with `torch.cond`, say; batch norm's mean, which moved meanwhile, goes back."""

    def refusing(function, inputs):
        function()
        raise NotImplementedError("no rule for this mode")

    monkeypatch.setattr("expunge.engine.replay.traced", refusing)
    check(cross_entropy, [(batch(k),) for k in range(3)], batchnorm)
    models, twin = group(batchnorm), group(batchnorm)
    gradient(models, None, batch(0), replays=Gradients(models, cross_entropy, True))
    gradient(twin, cross_entropy, batch(0))
    assert alike(models.stacked, twin.stacked)


def test_the_step_that_is_written_down_is_done_once():
    def objective(model, batch):
        calls.append(1)
        return cross_entropy(model, batch)

    calls = []
    check(objective, [(batch(0),)])
    assert len(calls) == 1 + 1  # and the one that it is compared with


def test_an_error_of_the_objective_at_the_first_step_is_told():
    def objective(model, batch):
        raise NotImplementedError("not now")

    with pytest.raises(NotImplementedError, match="not now"):
        Gradients(group(), objective, True)(batch(0))


def test_an_objective_that_looks_at_numbers_outside_is_not_replayed():
    def objective(model, batch):
        return cross_entropy(model, batch) * scale[0]

    scale, models = [1.0], group()
    replays = Gradients(models, objective, True)
    for k in range(4):
        scale[0] = 1.0 + k
        found = gradient(models, objective, batch(k), replays=replays)
        assert alike(found, gradient(group(), objective, batch(k)))
    assert not trusted(replays)


def test_an_objective_that_changes_later_is_refused():
    def objective(model, batch):
        return cross_entropy(model, batch) * (1.0 if len(steps) < 4 else 2.0)

    models, steps = group(), []
    replays = Gradients(models, objective, True)
    for step in range(5):
        gradient(models, objective, batch(step), replays=replays)
        steps.append(step)
    with pytest.raises(BadInput, match="wrong at step 4 after that.*replayable=False"):
        gradient(models, objective, batch(5), replays=replays)


def test_a_training_that_diverges_is_told_by_its_weights():
    wild = partial(torch.optim.SGD, lr=1e30)
    with pytest.raises(BadInput, match="became NaN or infinite.*lower the learning rate"):
        train(tiny(mlp, forget=(), optimizer=wild, **LONG), "original", range(3), seed=0, group=3)
