"""SalUn: random labels under a mask; what the mask holds, and the published leak."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.problems import CLASSES, FEATURES, generator, logistic, mlp64, tiny64
from expunge.curvature.point import Point
from expunge.curvature.saliency import saliency_mask
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.methods.masked import masked
from expunge.rng import seeded

from .by_hand import WHOLE, model, models, pull, rows_of, start, two_classes, weight

SHORT = {"epochs": 2, "lr": 0.1, "batch_size": 16, "forget_batch_size": 4}


def networks(count: int = 3, group: int = 2) -> Ensemble:
    made = []
    for k in range(count):
        with seeded(k):
            made.append(mlp64())
    return Ensemble.stack(made, range(count), group)


def with_l2(l2: float):
    problem = tiny64()
    return replace(problem, recipe=replace(problem.recipe, l2=l2))


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_with_every_weight_free_it_is_random_label(sequential, legacy):
    problem, made = with_l2(0.1), networks()
    weights = {} if sequential else {"alpha": 0.4}
    how = {**SHORT, "sequential": sequential, "true_label": True, **weights}
    one = method("salun", share=1.0, legacy=legacy, **how)(problem, made, seed=0).models
    two = method("random-label", **how)(problem, made, seed=0).models
    for name, found in one.tensors().items():
        assert torch.equal(found, two.tensors()[name])


def test_the_weights_with_the_largest_gradients_move():
    """Of a linear model: the gradient of the forgotten rows' loss is errors times inputs."""
    problem, theta = logistic(), start()
    slope = pull(theta, *rows_of(problem, problem.forget)).abs().flatten()
    result = method("salun", share=0.5, **SHORT)(problem, model(theta), seed=0)
    moved = (weight(result.models) != theta).flatten()
    assert torch.equal(moved, slope >= slope.sort(descending=True).values[8])
    assert moved.sum() == 9


@pytest.mark.parametrize("group", [1, 2])
def test_masked_weights_keep_their_bits_under_momentum_and_decay(group):
    problem, made = with_l2(0.1), networks(group=group)
    mask, _ = saliency_mask(problem, made, 0.3)
    found = method("salun", share=0.3, **SHORT)(problem, made, seed=0).models
    for name, before in made.tensors().items():
        assert torch.equal(found.tensors()[name] != before, mask[name])
    assert not torch.equal(mask["0.weight"][0], mask["0.weight"][1])  # each member has its own


# ---- legacy: only the gradient of the loss is masked


def leaky(legacy: bool, epochs: int, l2: float, seed: int = 0):
    """The weights before and after on logistic regression of two classes, and the mask."""
    problem, theta = two_classes(l2), start(classes=2)
    mask, _ = saliency_mask(problem, model(theta), 0.5)
    chosen = method("salun", share=0.5, lr=0.1, epochs=epochs, legacy=legacy, **WHOLE)
    return theta, weight(chosen(problem, model(theta), seed=seed).models), mask["weight"][0]


def test_legacy_lets_decay_and_momentum_move_masked_weights():
    """v = l2 w, w' = w - lr v; then v' = 0.9 v + l2 w', w'' = w' - lr v'."""
    lr, l2 = 0.1, 0.2
    theta, once, free = leaky(True, 1, l2)
    by_hand = theta - lr * l2 * theta
    assert (once - by_hand)[~free].abs().max() < 1e-15
    _, twice, _ = leaky(True, 2, l2)
    v = 0.9 * l2 * theta + l2 * by_hand
    assert (twice - (by_hand - lr * v))[~free].abs().max() < 1e-15


def test_legacy_moves_free_weights_in_the_first_step_as_ever():
    theta, strict, free = leaky(False, 1, 0.2)
    _, loose, _ = leaky(True, 1, 0.2)
    assert torch.equal(strict[~free], theta[~free])
    assert torch.equal(strict[free], loose[free])
    assert (strict != theta)[free].all()


def test_without_decay_legacy_is_no_other_method():
    _, strict, _ = leaky(False, 5, 0.0)
    theta, loose, free = leaky(True, 5, 0.0)
    assert torch.equal(strict, loose)
    assert torch.equal(loose[~free], theta[~free])


# ---- a mask of the caller's


@pytest.mark.parametrize("own", [False, True], ids=["shared", "for each member"])
def test_only_weights_that_both_masks_let_go_move(own):
    problem, thetas = logistic(), [start(k) for k in range(3)]
    made = models(thetas, group=2)
    shape = (3, CLASSES, FEATURES) if own else (CLASSES, FEATURES)
    free = torch.rand(shape, generator=generator(1)) < 0.5
    salient, _ = saliency_mask(problem, made, 0.5)
    inputs = MethodInputs(mask={"weight": free})
    found = method("salun", share=0.5, **SHORT)(problem, made, inputs, seed=0).models
    both = salient["weight"] & free
    assert 0 < both.sum() < salient["weight"].sum()
    assert torch.equal(found.tensors()["weight"] != made.tensors()["weight"], both)
    assert torch.equal(inputs.mask["weight"], free)


def test_a_parameter_that_the_caller_does_not_name_is_masked_by_saliency_alone():
    problem, made = with_l2(0.1), networks()
    mask, _ = saliency_mask(problem, made, 0.5)
    none = torch.zeros(8, FEATURES, dtype=torch.bool)
    chosen = method("salun", share=0.5, **SHORT)
    found = chosen(problem, made, MethodInputs(mask={"0.weight": none}), seed=0).models
    for name, before in made.tensors().items():
        moved = found.tensors()[name] != before
        assert torch.equal(moved, mask[name] & (name != "0.weight"))


@pytest.mark.parametrize("legacy", [False, True])
def test_the_callers_mask_keeps_its_bits_even_where_the_saliency_mask_leaks(legacy):
    problem, thetas = logistic(), [start(k) for k in range(3)]
    free = torch.rand(3, CLASSES, FEATURES, generator=generator(1)) < 0.5
    chosen = method("salun", share=0.5, legacy=legacy, **SHORT)
    made, inputs = models(thetas, group=2), MethodInputs(mask={"weight": free})
    moved = chosen(problem, made, inputs, seed=0).models.tensors()["weight"] != torch.stack(thetas)
    assert not moved[~free].any()
    assert moved[free].all() == legacy  # decay moves every weight that the caller lets go


MISFITS = {
    "9.weight": torch.ones(3, dtype=torch.bool),
    "0.weight": torch.ones(8, 6),
    "0.bias": torch.ones(1, dtype=torch.bool),  # would fit by broadcasting
    "2.weight": torch.ones(2, 3, 8, dtype=torch.bool),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_mask_that_does_not_fit_is_refused_before_any_work(name, monkeypatch):
    monkeypatch.setattr(Point, "gradient", None)
    inputs = MethodInputs(mask={name: MISFITS[name]})
    for chosen in (method("salun", **SHORT), masked(method("fine-tune"), "saliency:0.5")):
        with pytest.raises(BadInput, match=f"a mask for '{name}'.*make the mask from the model's"):
            chosen(tiny64(), networks(), inputs, seed=0)


def test_the_mask_is_paid_for():
    problem, made = tiny64(), networks()
    extra = method("salun", **SHORT)(problem, made, seed=0).cost.row_units
    plain = method("random-label", **SHORT)(problem, made, seed=0).cost.row_units
    assert extra == plain + 3 * len(problem.forget)
