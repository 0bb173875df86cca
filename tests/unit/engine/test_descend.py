"""descend(): feeds, schedule, masks, draws, refusals; epochs() and endless()."""

from functools import partial
from itertools import islice

import pytest
import torch
from torch import nn

from expunge.contract.problems import SGD, dropout, mlp, mlp64, tiny, tiny64
from expunge.engine.batches import endless, epochs
from expunge.engine.cost import Cost
from expunge.engine.descend import descend
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.rng import Draws, seeded

DRAWS = Draws((0, "test"))


def ensemble(count=2, build=mlp64, group=50):
    made = []
    for k in range(count):
        with seeded(k):
            made.append(build())
    return Ensemble.stack(made, range(count), group)


def feeds(problem, steps, members):
    rows = torch.arange(20).expand(members, 20)
    return ((batch,) for batch in problem.train.batches([rows] * steps))


def run(models, steps=4, problem=None, objective=None, **given):
    problem = tiny64() if problem is None else problem
    task = problem.task

    def mean_loss(model, batch):
        return task.loss(task.outputs(model, batch), batch).mean()

    settings = {"steps": steps, "optimizer": SGD, "draws": DRAWS, **given}
    return descend(models, objective or mean_loss, feeds(problem, steps, len(models)), **settings)


def weights(models):
    return {name: w.detach().clone() for name, w in models.weights().items()}


# ---- batches of rows


@pytest.mark.parametrize(
    ("n", "batch", "a_pass"), [(10, 3, [3, 3, 3]), (10, 10, [10]), (2, 5, [2])]
)
def test_a_pass_is_full_batches_of_a_permutation(n, batch, a_pass):
    rows = torch.arange(100, 100 + n)
    plan = list(epochs(rows, batch, 2, DRAWS.of([0, 3])))
    assert [p.shape[1] for p in plan] == a_pass * 2
    assert all(p.shape[0] == 2 for p in plan)
    for start in (0, len(a_pass)):
        one_pass = torch.cat(plan[start : start + len(a_pass)], 1)
        for member in one_pass:
            assert len(member.unique()) == sum(a_pass)
            assert torch.isin(member, rows).all()


def test_every_member_has_rows_and_an_order_of_its_own():
    rows = torch.stack([torch.arange(8), torch.arange(8, 16)])
    (batch,) = epochs(rows, 8, 1, DRAWS.of([0, 1]))
    assert torch.equal(batch.sort(1).values, rows)
    assert not torch.equal(batch[0], batch[1] - 8)
    (alone,) = epochs(rows[1], 8, 1, DRAWS.of([1]))
    assert torch.equal(alone[0], batch[1])


def test_endless_goes_on_in_fresh_orders():
    plan = list(islice(endless(torch.arange(6), 4, DRAWS.of([0])), 30))
    assert {p.shape for p in plan} == {(1, 4)}
    assert len({tuple(p[0].tolist()) for p in plan}) > 20
    counts = torch.cat(plan, 1).flatten().bincount(minlength=6)
    assert counts.min() > 8  # 20 each on average, sd 2.6


# ---- costs


def test_costs_add_and_count_a_backward_row_twice():
    one, two = Cost(10, 5, 1.0), Cost(1, 2, 0.5)
    assert one.row_units == 20
    assert one + two == Cost(11, 7, 1.5)


def test_descend_counts_rows_of_one_member():
    for count in (1, 3):
        assert run(ensemble(count)).row_units == 3 * 4 * 20


# ---- steps


def test_the_schedule_sees_progress_from_zero():
    seen = []

    def schedule(progress):
        seen.append(progress)
        return 0.0 if progress >= 0.5 else 1.0

    models, two = ensemble(), ensemble()
    run(models, schedule=schedule)
    assert seen == [0.0, 0.25, 0.5, 0.75]
    run(two, steps=2)
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(models).values(), weights(two).values(), strict=True)
    )


def test_after_is_called_with_each_step():
    seen = []
    run(ensemble(), after=lambda step, models: seen.append((step, len(models))))
    assert seen == [(0, 2), (1, 2), (2, 2), (3, 2)]


def test_clipping_is_per_member():
    """A member whose loss is a thousand times another's does not shrink that one's steps."""

    def scaled(model, batch, size):
        return size * nn.functional.cross_entropy(model(batch.inputs), batch.targets)

    def go(sizes, clip):
        models = ensemble()
        data = tiny64().train.batches([torch.arange(20).expand(2, 20)])
        pairs = ((batch, torch.tensor(sizes, dtype=torch.float64)) for batch in data)
        descend(models, scaled, pairs, steps=1, optimizer=SGD, draws=DRAWS, clip=clip)
        return weights(models)

    before, alike, unlike = weights(ensemble()), go([1.0, 1.0], 0.01), go([1.0, 1000.0], 0.01)
    for name in alike:
        assert torch.allclose(alike[name], unlike[name], rtol=1e-9)
    step = torch.cat([(alike[n] - before[n])[1].flatten() for n in alike])
    assert step.norm() == pytest.approx(0.1 * 0.01, rel=1e-9)  # lr x clip


def test_dropout_draws_by_member_and_step():
    problem = tiny()
    one, same, other = (ensemble(1, dropout) for _ in range(3))
    run(one, problem=problem)
    run(same, problem=problem)
    other.ids = (7,)
    run(other, problem=problem)
    assert torch.equal(weights(one)["0.weight"], weights(same)["0.weight"])
    assert not torch.equal(weights(one)["0.weight"], weights(other)["0.weight"])


def test_a_step_draws_the_same_whatever_was_drawn_before():
    """So that a run that resumes, or draws more often at some step, is not another run after it."""

    def go(greedy: bool) -> list[list[float]]:
        drawn = []

        def objective(model, batch):
            drawn.append(torch.rand(2).tolist())
            if greedy and len(drawn) == 1:
                torch.rand(100)
            return model(batch.inputs).square().mean()

        run(ensemble(1), objective=objective)
        return drawn

    plain = go(greedy=False)
    assert go(greedy=True) == plain
    assert len({tuple(draw) for draw in plain}) == 4


@pytest.mark.parametrize("count", [1, 2])
def test_training_mode_inside_and_as_before_afterwards(count):
    seen = []

    def objective(model, batch):
        seen.append(models.template.training)
        return nn.functional.cross_entropy(model(batch.inputs), batch.targets)

    models = ensemble(count)
    models.template.eval()
    run(models, objective=objective)
    assert all(seen)
    assert not any(m.training for m in models.template.modules())


# ---- masks


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1),
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
        partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1),
        partial(torch.optim.Adam, lr=0.1, amsgrad=True),
        partial(torch.optim.RMSprop, lr=0.1, momentum=0.9),
    ],
    ids=["SGD", "Nesterov", "AdamW", "AMSGrad", "RMSprop"],
)
def test_masked_weights_keep_their_bits_whatever_the_optimizer(optimizer, count):
    models = ensemble(count)
    before = weights(models)
    mask = torch.zeros(8, 6, dtype=torch.bool)
    mask[::2] = True
    run(models, optimizer=optimizer, l2=0.1, clip=1.0, mask={"0.weight": mask})
    after = weights(models)
    for k in range(count):
        a, b = (w["0.weight"].reshape(count, 8, 6)[k] for w in (before, after))
        assert torch.equal(a[~mask], b[~mask])
        assert (a[mask] != b[mask]).all()
    assert (before["2.bias"] != after["2.bias"]).any()


def test_masked_gradients_do_not_count_for_clipping():
    """With all but one parameter fixed, the norm is that parameter's alone."""
    none = {
        n: torch.zeros(s, dtype=torch.bool)
        for n, s in (("0.weight", (8, 6)), ("0.bias", 8), ("2.weight", (3, 8)))
    }
    models = ensemble(1)
    before = weights(models)
    run(models, steps=1, clip=1e-3, mask=none)
    assert (weights(models)["2.bias"] - before["2.bias"]).norm() == pytest.approx(1e-4, rel=1e-9)


MASKS = {
    "unknown name": ({"9.weight": torch.ones(8, 6, dtype=torch.bool)}, "a mask for '9.weight'"),
    "numbers": ({"0.weight": torch.ones(8, 6)}, "a mask for '0.weight' of torch.float32"),
    "for three members": (
        {"0.weight": torch.ones(3, 8, 6, dtype=torch.bool)},
        r"shape \(3, 8, 6\)",
    ),
    "flat": ({"0.weight": torch.ones(48, dtype=torch.bool)}, r"this one of shape \(8, 6\)"),
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("mask", "match"), MASKS.values(), ids=MASKS)
def test_a_mask_that_does_not_fit_is_refused(mask, match, count):
    with pytest.raises(BadInput, match=match):
        run(ensemble(count), mask=mask)


# ---- refusals


@pytest.mark.parametrize("count", [1, 2])
def test_divergence_names_the_parameter_and_the_members(count):
    def explode(model, batch):
        return 1e300 * model(batch.inputs).square().sum()

    with pytest.raises(
        BadInput, match=f"became NaN or infinite in members 0 to {count - 1}.*lower"
    ):
        run(ensemble(count), objective=explode, steps=3)


def test_a_feed_that_ends_early_is_an_error():
    def total(model, batch):
        return model(batch.inputs).sum()

    early = feeds(tiny64(), 4, 2)
    with pytest.raises(AssertionError, match="4 feeds for 9 steps"):
        descend(ensemble(), total, early, steps=9, optimizer=SGD, draws=DRAWS)


def test_bf16_is_autocast():
    problem = tiny()
    seen = []

    def objective(model, batch):
        outputs = model(batch.inputs)
        seen.append(outputs.dtype)
        return outputs.float().square().mean()

    run(ensemble(1, mlp), problem=problem, objective=objective, precision="bf16")
    assert set(seen) == {torch.bfloat16}
