"""The damping that a recipe implies, by hand: KNEE over how far training goes, plus l2."""

from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW

from expunge.attribution.damping import BATCHES, KNEE, damping_of, sample_of, travel
from expunge.contract.problems import CLASSES, batchnorm64, mlp64, tiny64, with_nan
from expunge.curvature.point import Point
from expunge.errors import BadInput
from expunge.problem import Classification, Problem
from expunge.problem.recipe import linear
from expunge.rng import Draws, seeded

DRAWS = Draws((0, "test"))
STEPS = 10 * (60 // 16)  # 10 epochs of 60 rows in batches of 16


def problem(optimizer=SGD, epochs: int = 10, recipe=None, **settings) -> Problem:
    made = partial(optimizer, **{"lr": 0.1, **settings})
    return tiny64(epochs=epochs, batch_size=16, optimizer=made, **(recipe or {}))


def point(asked: Problem, build=mlp64) -> Point:
    with seeded(0):
        return Point(asked.task, asked.train, build())


def damping(asked: Problem) -> float:
    return damping_of(asked, point(asked), DRAWS, travel(asked))


# ---- descent


def test_of_a_constant_rate_the_path_is_rate_times_steps():
    assert damping(problem()) == pytest.approx(KNEE / (0.1 * STEPS))


def test_an_optimizer_that_looks_at_names_finds_a_weight():
    """As many do, to leave biases and norms out of decay, or to give them another rate."""

    def made(named):
        rates = {True: 0.1, False: 10.0}
        return SGD([{"params": [w], "lr": rates[n.endswith(".weight")]} for n, w in named])

    assert damping(problem(lambda named, lr: made(named))) == pytest.approx(KNEE / (0.1 * STEPS))


def test_of_a_falling_rate_the_path_is_the_sum_of_rates():
    total = sum(0.1 * (1 - k / STEPS) for k in range(STEPS))
    assert damping(problem(recipe={"schedule": linear})) == pytest.approx(KNEE / total)
    assert total == pytest.approx(0.1 * (STEPS + 1) / 2)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_momentum_goes_further_by_one_over_one_minus_it(momentum):
    """By hand v <- m v + g; after a long training up to the steps in which it builds up."""
    place = speed = 0.0
    for _ in range(STEPS):
        speed = momentum * speed + 1.0
        place += 0.1 * speed
    assert damping(problem(momentum=momentum)) == pytest.approx(KNEE / place)
    long = problem(momentum=momentum, epochs=200)
    assert damping(long) == pytest.approx(KNEE * (1 - momentum) / (0.1 * 20 * STEPS), rel=0.02)


def test_l2_is_added():
    assert damping(problem(recipe={"l2": 0.3})) == pytest.approx(0.3 + KNEE / (0.1 * STEPS))


def test_decay_in_the_optimizer_is_a_penalty_and_no_part_of_the_path():
    """SGD adds it to the gradient, as l2; AdamW's acts apart, in units of the gradient's size."""
    plain, decayed = (damping(problem(SGD, weight_decay=d)) for d in (0.0, 0.5))
    assert decayed == pytest.approx(plain + 0.5)
    none, half, whole = (damping(problem(AdamW, weight_decay=d)) for d in (0.0, 0.5, 1.0))
    assert whole - half == pytest.approx(half - none)
    size = none * 0.1 * STEPS / KNEE
    assert half == pytest.approx(none + 0.5 * size, rel=1e-3)
    apart = damping(problem(Adam, weight_decay=0.5, decoupled_weight_decay=True))
    assert apart == pytest.approx(half)


def test_steps_are_counted_for_the_rows_that_are_present():
    few = problem().without(torch.arange(20))
    assert damping(few) == pytest.approx(KNEE / (0.1 * 10 * (40 // 16)))


def test_it_is_how_far_training_reaches():
    """Of the way to the minimum of a quadratic of curvature h, descent covers 1 - exp(-h t).

    h / (h + c) is equal where h t is 1, but for the steps being finite, and near everywhere.
    """
    path, c = 0.1 * STEPS, damping(problem())
    for h, error in ((0.01 / path, 0.01), (0.1 / path, 0.07), (1 / path, 0.01), (5 / path, 0.12)):
        weight = 0.0
        for _ in range(STEPS):
            weight -= 0.1 * (h * weight - h)  # towards 1
        assert abs(weight - h / (h + c)) < error


# ---- optimizers that divide by the size of gradients


@pytest.mark.parametrize("optimizer", [Adam, AdamW, torch.optim.RMSprop])
def test_adams_path_is_measured_in_sizes_of_gradients(optimizer):
    """A step of Adam is lr whatever the gradient; RMSprop's first steps are longer."""
    asked = problem(optimizer, lr=0.01, weight_decay=0.0)
    assert travel(asked).measured == 60  # eight batches would be 128
    here, order = point(asked), DRAWS.at("batches").permutation(60)
    squares = []
    for batch in asked.present_rows[order].split(16):
        for g in here.gradient(batch).values():
            squares.append((g / len(batch)).square().flatten())
    size = float(torch.cat(squares).mean().sqrt())
    if optimizer is torch.optim.RMSprop:
        reach = KNEE * size / damping_of(asked, here, DRAWS, travel(asked))
        assert 0.01 * STEPS < reach < 0.05 * STEPS
    else:
        assert damping_of(asked, here, DRAWS, travel(asked)) == pytest.approx(
            KNEE * size / (0.01 * STEPS), rel=1e-4
        )


class Louder(Classification):
    """Every loss times ten."""

    def loss(self, outputs, batch):
        return 10 * super().loss(outputs, batch)


def test_a_loss_ten_times_as_large_is_damped_as_much_more_by_adam_alone():
    """Adam's steps stay as they are, while forces and curvatures are ten times as large."""
    for optimizer, factor in ((Adam, 10.0), (SGD, 1.0)):
        asked = problem(optimizer)
        louder = point(asked)
        louder = Point(Louder(CLASSES), louder.data, louder.module)
        found = damping_of(asked, louder, DRAWS, travel(asked)) / damping(asked)
        assert found == pytest.approx(factor, rel=1e-4)


def test_a_recipe_that_never_moves_is_refused():
    asked = tiny64(schedule=lambda progress: 0.0)
    with pytest.raises(BadInput, match="learning rates are 0 at every step.*more steps"):
        travel(asked)


def test_eight_batches_are_read_and_no_more():
    asked = tiny64(optimizer=partial(Adam, lr=0.01), batch_size=4)
    assert travel(asked).measured == BATCHES * 4
    order = DRAWS.at("batches").permutation(60)
    damping_of(
        with_nan(asked, order[32:]), point(with_nan(asked, order[32:])), DRAWS, travel(asked)
    )
    unread = with_nan(asked, order[31:32])
    with pytest.raises(BadInput, match="NaN"):
        damping_of(unread, point(unread), DRAWS, travel(asked))
    assert travel(problem()).measured == 0


def test_rows_that_are_not_present_are_not_read():
    gone = torch.arange(0, 60, 2)
    asked = with_nan(problem(Adam), gone).without(gone)
    assert damping(asked) > 0


def test_it_is_measured_in_evaluation_mode():
    asked = problem(Adam)
    here = point(asked, batchnorm64)
    here.module.train()
    first = damping_of(asked, here, DRAWS, travel(asked))
    here.module.eval()
    assert damping_of(asked, here, DRAWS, travel(asked)) == first
    assert here.module[1].num_batches_tracked == 0


# ---- refusals and samples


def test_a_trainer_has_no_damping_until_it_is_named():
    def trainer(data, rows, *, seed, device):
        raise AssertionError("is not called")

    asked = Problem(Classification(CLASSES), tiny64().train, tiny64().train, recipe=trainer)
    told = "without a Recipe, from which the damping follows.*linearised:damping=0.01"
    with pytest.raises(BadInput, match=told):
        damping_of(asked, point(tiny64()), DRAWS, travel(asked))


def test_a_sample_is_of_the_rows_in_their_order_and_all_where_there_are_no_more():
    rows = torch.arange(5, 45)
    found = sample_of(rows, 10, DRAWS)
    assert len(found.unique()) == 10
    assert torch.isin(found, rows).all()
    assert torch.equal(found, found.sort().values)
    assert torch.equal(found, sample_of(rows, 10, DRAWS))
    assert not torch.equal(found, sample_of(rows, 10, Draws((1, "test"))))
    assert torch.equal(sample_of(rows, 100, DRAWS), rows)
