"""SalUn-soft: the soft threshold in numbers, and whole runs on two classes by hand."""

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import CLASSES, FEATURES, generator, logistic, mlp64, tiny64
from expunge.engine.ensemble import Ensemble
from expunge.methods import MethodInputs, method
from expunge.methods.salun_soft import pull_back
from expunge.rng import seeded

from .by_hand import (
    WHOLE,
    Watching,
    model,
    models,
    pull,
    rows_of,
    start,
    two_classes,
    weight,
)


def test_the_threshold_is_of_all_weights_of_a_member_together():
    """In quarters, so that nothing is rounded; half of the six weights are held."""
    anchor = {"weight": torch.ones(2, 2, 2), "bias": torch.ones(2, 2)}
    moved = {
        "weight": torch.tensor([[[0.25, -0.5], [0.75, -1.0]], [[1.0, -2.0], [3.0, -4.0]]]),
        "bias": torch.tensor([[-1.25, 1.5], [-5.0, 6.0]]),
    }
    with seeded(0):
        made = Ensemble.stack([nn.Linear(2, 2) for _ in range(2)], (0, 1), 2)
    with torch.no_grad():
        for name, w in made.weights().items():
            w.copy_(anchor[name] + moved[name])
    pull_back(made, anchor, 0.5)  # thresholds 0.75 and 3
    kept = {
        "weight": torch.tensor([[[0.0, 0.0], [0.0, -0.25]], [[0.0, 0.0], [0.0, -1.0]]]),
        "bias": torch.tensor([[-0.5, 0.75], [-2.0, 3.0]]),
    }
    for name, w in made.weights().items():
        assert torch.equal(w.detach(), anchor[name] + kept[name])


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.16, 0), (0.17, 1), (0.99, 5), (1.0, 6)])
def test_the_number_of_weights_held_is_rounded_down(share, held):
    with seeded(0):
        made = Ensemble.of(nn.Linear(2, 2))
    anchor = {name: torch.zeros_like(w) for name, w in made.weights().items()}
    before = torch.cat([w.detach().flatten() for w in made.weights().values()])
    pull_back(made, anchor, share)
    after = torch.cat([w.detach().flatten() for w in made.weights().values()])
    assert int((after == 0).sum()) == held
    shrunk = before.abs().sort().values[held - 1] if held else 0.0
    assert torch.allclose(after, before.sign() * (before.abs() - shrunk).clamp_min(0))


# ---- whole runs

LR, SHARE, EPOCHS = 0.3, 0.6, 4


def soft(theta: Tensor, anchor: Tensor, share: float) -> Tensor:
    held = int(share * theta.numel())
    if not held:
        return theta
    d = theta - anchor
    t = d.abs().flatten().sort().values[held - 1]
    return anchor + d.sign() * (d.abs() - t).clamp_min(0)


def whole_run(theta: Tensor, sequential: bool, moving: bool) -> Tensor:
    problem = two_classes()
    (x_f, y_f), (x_r, y_r) = (rows_of(problem, rows) for rows in (problem.forget, problem.retain))

    def away(t):
        return pull(t, x_f, 1 - y_f) + problem.recipe.l2 * t

    def stay(t):
        return pull(t, x_r, y_r) + problem.recipe.l2 * t

    def both(t):
        return pull(t, x_f, 1 - y_f) + stay(t)

    epoch = [away, stay] if sequential else [both]
    steps, anchor, v = EPOCHS * len(epoch), theta, torch.zeros_like(theta)
    for step in range(steps):
        v = 0.9 * v + epoch[step % len(epoch)](theta)
        theta = soft(theta - LR * v, anchor, SHARE * (1 - (step + 1) / steps))
        if moving and (step + 1) % len(epoch) == 0:
            anchor = theta
    return theta


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("sequential", [False, True])
def test_a_run_on_two_classes_by_hand(sequential, moving):
    theta = start(classes=2)
    chosen = method(
        "salun-soft",
        epochs=EPOCHS,
        lr=LR,
        share=SHARE,
        sequential=sequential,
        moving_anchor=moving,
        **WHOLE,
    )
    found = weight(chosen(two_classes(), model(theta), seed=0).models)
    assert (found - whole_run(theta, sequential, moving)).abs().max() < 1e-12
    other = whole_run(theta, sequential, not moving)
    assert (found - other).abs().max() > 1e-3  # the anchor matters


def test_fewer_weights_are_held_with_every_step_and_none_after_the_last():
    problem, theta, look = logistic(), start(), Watching()
    chosen = method("salun-soft", epochs=6, lr=LR, share=0.5, **WHOLE)
    chosen(problem, model(theta), look.inputs, seed=0)
    held = [int((w["weight"] == theta).sum()) for w in look.weights]
    assert held == [18, 7, 6, 4, 3, 1, 0]  # 18 x 0.5 x (1 - step / 6)


def test_every_member_has_a_threshold_of_its_own():
    problem, thetas = logistic(), [start(k) for k in range(3)]
    chosen = method("salun-soft", epochs=3, lr=LR, batch_size=16)
    together = chosen(problem, models(thetas, group=3), seed=0).models
    for k, theta in enumerate(thetas):
        alone = chosen(problem, Ensemble.of(model(theta).template, k), seed=0).models
        assert (weight(together, k) - weight(alone)).abs().max() < 1e-12


@pytest.mark.parametrize("moving", [False, True])
def test_with_nothing_held_it_is_random_label(moving):
    made = []
    for k in range(3):
        with seeded(k):
            made.append(mlp64())
    start_, problem = Ensemble.stack(made, range(3), 2), tiny64(l2=0.1)
    how = {"epochs": 2, "lr": 0.1, "batch_size": 16, "forget_batch_size": 4, "true_label": True}
    one = method("salun-soft", share=0.0, moving_anchor=moving, **how)(problem, start_, seed=0)
    two = method("random-label", **how)(problem, start_, seed=0)
    for name, found in one.models.tensors().items():
        assert torch.equal(found, two.models.tensors()[name])


def test_masked_weights_keep_their_bits():
    problem, theta = logistic(), start()
    free = torch.rand(CLASSES, FEATURES, generator=generator(0)) < 0.7
    chosen = method("salun-soft", epochs=3, lr=LR, **WHOLE)
    inputs = MethodInputs(mask={"weight": free})
    found = weight(chosen(problem, model(theta), inputs, seed=0).models)
    assert torch.equal(found != theta, free)
