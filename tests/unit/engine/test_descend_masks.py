"""descend(): masks of each member, masks that leak, the l1 penalty, looking on."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import generator, mlp64, tiny64
from expunge.engine.descend import descend
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.rng import Draws, seeded

LR = 0.1
SGD = partial(torch.optim.SGD, lr=LR, momentum=0.9)


def ensemble(count: int = 2) -> Ensemble:
    made = []
    for k in range(count):
        with seeded(k):
            made.append(mlp64())
    return Ensemble.stack(made, range(count), 50)


def run(models: Ensemble, steps: int = 4, optimizer=SGD, **given):
    """Full batches of twenty rows, the same for every member."""
    rows = torch.arange(20).expand(len(models), 20)
    feeds = ((batch,) for batch in tiny64().train.batches([rows] * steps))

    def objective(model, batch):
        return nn.functional.cross_entropy(model(batch.inputs), batch.targets)

    draws = Draws((0, "test"))
    return descend(models, objective, feeds, steps=steps, optimizer=optimizer, draws=draws, **given)


def after(count: int = 2, **given) -> dict[str, Tensor]:
    """By name, (members, *shape)."""
    models = ensemble(count)
    run(models, **given)
    return models.tensors()


def before(count: int = 2) -> dict[str, Tensor]:
    return ensemble(count).tensors()


def slopes(count: int = 2) -> dict[str, Tensor]:
    """The gradients of the objective at the start: what one plain step of size 1 takes away."""
    moved = after(count, steps=1, optimizer=partial(torch.optim.SGD, lr=1.0))
    return {name: start - moved[name] for name, start in before(count).items()}


def some(count: int) -> dict[str, Tensor]:
    """A mask for each member, for two parameters."""
    shapes = {"0.weight": (8, 6), "2.bias": (3,)}
    draw = generator(3)
    return {n: torch.rand((count, *s), generator=draw) < 0.5 for n, s in shapes.items()}


# ---- a mask for each member


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "optimizer", [SGD, partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1)], ids=["SGD", "AdamW"]
)
def test_each_member_keeps_the_bits_of_its_own_mask(count, optimizer):
    mask = some(count)
    moved = after(count, optimizer=optimizer, l2=0.1, l1=lambda _: 0.01, clip=1.0, mask=mask)
    for name, start in before(count).items():
        changed = moved[name] != start
        assert torch.equal(changed, mask[name]) if name in mask else changed.any()


def test_members_of_complementary_masks_are_masked_apart():
    one = some(1)["0.weight"][0]
    mask = {"0.weight": torch.stack([one, ~one])}
    changed = after(mask=mask)["0.weight"] != before()["0.weight"]
    assert torch.equal(changed[0], ~changed[1])
    alone = after(1, mask={"0.weight": one})["0.weight"]
    assert (after(mask=mask)["0.weight"][0] - alone[0]).abs().max() < 1e-12


@pytest.mark.parametrize(("count", "masks"), [(1, 2), (2, 1), (2, 3)])
def test_masks_for_another_number_of_members_are_refused(count, masks):
    with pytest.raises(BadInput, match=rf"shape \({masks}, 8, 6\).*this one of shape \(8, 6\)"):
        after(count, mask={"0.weight": torch.ones(masks, 8, 6, dtype=torch.bool)})


def test_what_is_done_after_a_step_is_undone_where_the_mask_holds():
    mask = some(2)

    def spoil(step, models):
        with torch.no_grad():
            for w in models.weights().values():
                w.add_(1.0)

    moved, start = after(mask=mask, after=spoil), before()
    for name, held in mask.items():
        assert torch.equal(moved[name][~held], start[name][~held])
        assert (moved[name] - start[name])[held].min() > 1


# ---- a mask that is not strict


@pytest.mark.parametrize("count", [1, 2])
def test_a_loose_mask_lets_decay_and_momentum_through(count):
    """v = l2 w; w' = w - lr v; then v' = 0.9 v + l2 w', and no gradient of the objective."""
    mask, start, l2 = some(count), before(count), 0.3
    once, twice = (
        after(count, steps=s, l2=l2, mask=mask, strict=False, schedule=lambda _: 1.0)
        for s in (1, 2)
    )
    for name, held in mask.items():
        first = start[name] - LR * l2 * start[name]
        second = first - LR * (0.9 * l2 * start[name] + l2 * first)
        assert (once[name] - first)[~held].abs().max() < 1e-15
        assert (twice[name] - second)[~held].abs().max() < 1e-15


def test_a_loose_mask_lets_the_optimizers_own_decay_and_l1_through():
    mask, start = some(2), before()
    decayed = partial(torch.optim.SGD, lr=LR, weight_decay=0.3)
    own = after(steps=1, optimizer=decayed, mask=mask, strict=False)
    sparse = after(steps=1, l1=lambda _: 0.3, mask=mask, strict=False)
    for name, held in mask.items():
        w = start[name]
        assert (own[name] - (w - LR * 0.3 * w))[~held].abs().max() < 1e-15
        assert (sparse[name] - (w - LR * 0.3 * w.sign()))[~held].abs().max() < 1e-15


def test_a_loose_mask_moves_free_weights_as_ever_and_is_strict_without_decay():
    mask = some(2)
    strict, loose = (after(steps=1, l2=0.3, mask=mask, strict=s) for s in (True, False))
    for name, held in mask.items():
        assert torch.equal(strict[name][held], loose[name][held])
        assert (strict[name] != loose[name])[~held].all()
    strict, loose = (after(mask=mask, strict=s) for s in (True, False))
    assert all(torch.equal(strict[name], loose[name]) for name in strict)


def test_the_decay_of_masked_weights_does_not_count_for_clipping():
    """With all but one parameter fixed the norm is that parameter's alone, penalties included."""
    mask = {n: torch.zeros_like(w[0], dtype=torch.bool) for n, w in before().items()}
    mask["2.bias"] = torch.ones(3, dtype=torch.bool)
    moved = after(steps=1, clip=1e-3, l2=10.0, l1=lambda _: 10.0, mask=mask)
    step = (moved["2.bias"] - before()["2.bias"]).norm(dim=1)
    assert step.tolist() == pytest.approx([LR * 1e-3] * 2, rel=1e-9)


def test_a_loose_mask_stops_the_gradient_before_it_is_clipped():
    mask = {n: torch.zeros_like(w[0], dtype=torch.bool) for n, w in before().items()}
    mask["2.bias"] = torch.ones(3, dtype=torch.bool)
    moved = after(steps=1, clip=1e-3, mask=mask, strict=False)
    step = (moved["2.bias"] - before()["2.bias"]).norm(dim=1)
    assert step.tolist() == pytest.approx([LR * 1e-3] * 2, rel=1e-9)


# ---- penalties


def test_penalties_are_added_to_the_gradient_of_the_objective():
    """One step: w - lr (g + l2 w + l1 sign w)."""
    start, g = before(), slopes()
    moved = after(steps=1, l2=0.3, l1=lambda _: 0.2)
    for name, w in start.items():
        wanted = w - LR * (g[name] + 0.3 * w + 0.2 * w.sign())
        assert (moved[name] - wanted).abs().max() < 1e-15
        assert (w < 0).any()


def test_the_l1_penalty_sees_progress_from_zero():
    seen = []

    def weight(progress):
        seen.append(progress)
        return 0.1 if progress < 0.5 else 0.0

    moved = after(l1=weight)
    assert seen == [0.0, 0.25, 0.5, 0.75]
    never, always = after(), after(l1=lambda _: 0.1)
    assert all((moved[n] != other[n]).any() for other in (never, always) for n in moved)


def test_a_weight_of_zero_is_not_pushed():
    models = ensemble(1)
    with torch.no_grad():
        for w in models.weights().values():
            w.zero_()
    run(models, steps=1, l1=lambda _: 0.5)
    # all hidden units are 0, so that only the last bias has a gradient
    assert all((w == 0).all() for n, w in models.weights().items() if n != "2.bias")


# ---- looking on


@pytest.mark.parametrize("count", [1, 2])
def test_looking_on_from_before_the_first_step_changes_nothing(count):
    seen, states = [], []

    def watch(step, models):
        seen.append((step, len(models)))
        states.append({n: t.clone() for n, t in models.tensors().items()})

    moved, plain = after(count, watch=watch), after(count)
    assert seen == [(step, count) for step in range(5)]
    for name, start in before(count).items():
        assert torch.equal(moved[name], plain[name])
        assert torch.equal(states[0][name], start)
        assert torch.equal(states[2][name], after(count, steps=2)[name])
        assert torch.equal(states[4][name], moved[name])


def test_looking_on_sees_what_was_done_after_the_step_and_what_the_mask_undid():
    mask, states, order = some(2), [], []

    def spoil(step, models):
        order.append(f"after {step}")
        with torch.no_grad():
            models.weights()["0.weight"].fill_(9.0)

    def watch(step, models):
        order.append(f"watch {step}")
        states.append(models.tensors()["0.weight"].clone())

    after(steps=2, mask=mask, after=spoil, watch=watch)
    assert order == ["watch 0", "after 0", "watch 1", "after 1", "watch 2"]
    start = before()["0.weight"]
    wanted = torch.where(mask["0.weight"], torch.full_like(start, 9.0), start)
    assert torch.equal(states[0], start)
    assert torch.equal(states[1], wanted)
    assert torch.equal(states[2], wanted)
