"""Recipe: what one training does, step by step, against training written out by hand."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expunge.contract.problems import FEATURES, ROWS, SGD, mlp64, tiny, tiny64
from expunge.errors import BadInput
from expunge.problem import Recipe
from expunge.problem.recipe import constant, cosine, linear
from expunge.training.from_recipe import train

ALL = 1000


def recipe(**changed) -> Recipe:
    return Recipe(**{"build": mlp64, "epochs": 3, "batch_size": 16, "optimizer": SGD, **changed})


@pytest.mark.parametrize(
    ("rows", "batch", "steps", "read"),
    [(60, 16, 9, 144), (60, 60, 3, 180), (60, 61, 3, 180), (5, 16, 3, 15), (32, 16, 6, 96)],
)
def test_an_epoch_is_whole_batches(rows, batch, steps, read):
    made = recipe(batch_size=batch)
    assert made.steps(rows) == steps
    assert made.rows_read(rows) == read


def test_schedules():
    assert [constant(p) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
    assert [linear(p) for p in (0.0, 0.5, 1.0)] == [1.0, 0.5, 0.0]
    assert [cosine(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"epochs": 0}, "epochs=0 and batch_size=16"),
        ({"epochs": "3"}, "epochs='3' .*whole numbers"),
        ({"batch_size": 16.0}, "batch_size=16.0.*whole numbers"),
        ({"batch_size": 0}, "epochs=3 and batch_size=0"),
        ({"precision": "fp16"}, "precision 'fp16'"),
    ],
)
def test_bad_input(changed, match):
    with pytest.raises(BadInput, match=match):
        recipe(**changed)


# ---- on full batches the order of rows is irrelevant, so that training is a formula


def start(problem) -> nn.Module:
    """The weights that the package draws for original 0, before any step."""
    still = tiny64(epochs=1, schedule=lambda progress: 0.0, forget=())
    (module,) = train(still, "original", [0], seed=0)[0].modules()
    return module


def by_hand(problem, rates, extra=None, clip=None, ema=None, l2=0.0) -> dict:
    """Plain descent on all rows at these learning rates."""
    model = start(problem)
    x, y = problem.train.inputs, problem.train.targets
    average = [p.detach().clone() for p in model.parameters()]
    for rate in rates:
        outputs = model(x)
        loss = F.cross_entropy(outputs, y)
        if extra is not None:
            loss = loss + extra(outputs)
        loss = loss + 0.5 * l2 * sum(p.square().sum() for p in model.parameters())
        grads = torch.autograd.grad(loss, list(model.parameters()))
        norm = torch.cat([g.flatten() for g in grads]).norm()
        scale = 1.0 if clip is None else min(1.0, clip / float(norm))
        with torch.no_grad():
            for p, g, a in zip(model.parameters(), grads, average, strict=True):
                p.sub_(rate * scale * g)
                a.mul_(ema or 0.0).add_((1 - (ema or 0.0)) * p)
    with torch.no_grad():
        for p, a in zip(model.parameters(), average, strict=True):
            p.copy_(p if ema is None else a)
    return dict(model.named_parameters())


def spread(outputs, batch=None):
    """A penalty of outputs, (B,) or its mean."""
    each = 0.1 * outputs.square().sum(-1)
    return each if batch is not None else each.mean()


CASES = {
    "plain": ({}, {}),
    "l2": ({"l2": 0.3}, {"l2": 0.3}),
    "clipped": ({"clip": 0.2}, {"clip": 0.2}),
    "clip out of reach": ({"clip": 1e9}, {}),
    "l2 clipped": ({"l2": 3.0, "clip": 0.5}, {"l2": 3.0, "clip": 0.5}),
    "penalty": ({"penalty": spread}, {"extra": spread}),
    "averaged": ({"ema": 0.8}, {"ema": 0.8}),
    "falling rate": ({"schedule": linear}, {"rates": [0.1, 0.08, 0.06, 0.04, 0.02]}),
}


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(("settings", "meaning"), CASES.values(), ids=CASES)
def test_training_is_its_formula(settings, meaning, group):
    problem = tiny64(epochs=5, batch_size=ALL, forget=(), **settings)
    models, _ = train(problem, "original", range(group), seed=0, group=group)
    wanted = by_hand(problem, **{"rates": [0.1] * 5, **meaning})
    for name, value in models.tensors().items():
        assert (value[0] - wanted[name]).abs().max() < 1e-12


def test_each_epoch_visits_rows_once_in_a_fresh_order_of_each_member():
    seen = []

    def remember(batch, draws):
        seen.append(batch.rows.clone())
        return batch

    problem = tiny(augment=remember, epochs=3, batch_size=20, forget=())
    train(problem, "original", [0, 4], seed=0, group=2)
    assert [tuple(rows.shape) for rows in seen] == [(2, 20)] * 9
    epochs = [torch.cat(seen[i : i + 3], 1) for i in (0, 3, 6)]
    for order in epochs:
        assert (order.sort(1).values == torch.arange(ROWS)).all()
    orders = {tuple(member.tolist()) for order in epochs for member in order}
    assert len(orders) == 6


def test_rows_that_fill_no_batch_are_left_out_of_an_epoch():
    seen = []

    def remember(batch, draws):
        seen.append(batch.rows[0])
        return batch

    train(tiny(augment=remember, epochs=2, batch_size=25, forget=()), "original", [0], seed=0)
    assert [len(rows) for rows in seen] == [25] * 4
    assert len(torch.cat(seen[:2]).unique()) == 50
    assert set(torch.cat(seen[:2]).tolist()) != set(torch.cat(seen[2:]).tolist())


def test_augmentation_draws_by_member_and_step():
    drawn = []

    def jitter(batch, draws):
        drawn.append(draws.normal((3,)))
        return batch

    problem = tiny(augment=jitter, epochs=1)
    train(problem, "original", [0, 1], seed=0, group=2)
    together = torch.stack(drawn, 1)
    drawn.clear()
    train(problem, "original", [1], seed=0)
    assert torch.equal(torch.stack(drawn, 1)[0], together[1])
    assert len({tuple(row.tolist()) for row in together.flatten(0, 1)}) == len(together[0]) * 2


# ---- building and fitting


def test_a_model_is_built_from_its_members_seed():
    alone = [train(tiny(), "original", [k], seed=0)[0].tensors()["0.weight"][0] for k in (0, 1)]
    both = train(tiny(), "original", [0, 1], seed=0)[0].tensors()["0.weight"]
    assert torch.equal(torch.stack(alone), both)
    assert not torch.equal(*both)
    other = train(tiny(), "original", [0], seed=1)[0].tensors()["0.weight"][0]
    assert not torch.equal(other, both[0])


class Whitened(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(FEATURES, 3)
        self.register_buffer("mean", torch.zeros(FEATURES))

    def forward(self, x):
        return self.net(x - self.mean)


@pytest.mark.parametrize("role", ["original", "oracle", "subset"])
def test_fit_sees_the_rows_of_the_training_and_no_others(role):
    asked = []

    def fit(module, data, rows):
        asked.append(rows)
        (batch,) = data.batches([rows])
        module.mean.copy_(batch.inputs.mean(0))

    problem = tiny(Whitened, fit=fit)
    models, _ = train(problem, role, [0, 1], seed=0, group=2)
    size = {"original": ROWS, "oracle": ROWS - len(problem.forget), "subset": ROWS // 2}[role]
    assert [len(rows) for rows in asked] == [size, size]
    for k, rows in enumerate(asked):
        wanted = problem.train.inputs[rows].mean(0)
        torch.testing.assert_close(models.tensors()["mean"][k], wanted)
    assert torch.equal(*asked) == (role != "subset")


def test_bf16_trains_with_float32_weights():
    full, half = (
        train(tiny(precision=p, epochs=5), "original", [0, 1], seed=0, group=2)[0].tensors()
        for p in ("fp32", "bf16")
    )
    gaps = [float((full[n] - half[n]).abs().max()) for n in full]
    assert all(t.dtype == torch.float32 for t in half.values())
    assert 1e-6 < max(gaps) < 0.05


def test_any_element_wise_optimizer_will_do():
    for optimizer in (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.NAdam):
        made = partial(optimizer, lr=0.01)
        alone, grouped = (
            train(tiny64(optimizer=made), "original", range(3), seed=0, group=g)[0].tensors()
            for g in (1, 3)
        )
        assert max(float((alone[n] - grouped[n]).abs().max()) for n in alone) < 1e-6
