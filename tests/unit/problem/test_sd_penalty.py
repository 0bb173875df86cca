"""The SD penalty: its formula in both scalings, flat logits, groups, and what training does."""

import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import grad, vmap

import expunge
from expunge.contract.problems import CLASSES, FEATURES, Recurrent, generator, tiny, tiny64
from expunge.errors import BadInput
from expunge.problem.sd_penalty import SDPenalty
from expunge.rng import seeded
from expunge.store import Store
from expunge.training.from_recipe import train
from expunge.training.recipe_id import recipe_fingerprint


def logits(rows: int = 7, classes: int = 5) -> torch.Tensor:
    return 3 * torch.randn(rows, classes, generator=generator(classes), dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 5, 100])
def test_both_scalings_are_their_formulas(classes):
    z = logits(classes=classes)
    apart = z.numpy() - z.numpy().mean(1, keepdims=True)
    paper = 1.5 * np.sqrt((apart**2).sum(1) / classes)
    np.testing.assert_allclose(SDPenalty(1.5)(z), paper, rtol=1e-14)
    code = 1.5 * z.numpy().std(1, ddof=1) / classes
    np.testing.assert_allclose(SDPenalty(1.5, "code")(z), code, rtol=1e-14)


def test_the_code_s_own_expression_is_the_mean_over_rows():
    z = logits()
    published = torch.sum(torch.std(z, dim=1)) / z.numel()
    assert float(SDPenalty(1.0, "code")(z).mean()) == pytest.approx(float(published), rel=1e-14)


def test_gammas_are_converted_exactly():
    z = logits()
    for there, back in (("paper", "code"), ("code", "paper")):
        first = SDPenalty(2.0, there)
        other = first.rescaled(back, z.shape[1])
        assert other.scaling == back
        torch.testing.assert_close(other(z), first(z), rtol=1e-14, atol=0)
        assert first.rescaled(there, z.shape[1]) == first
    assert SDPenalty(5.0, "code").rescaled("paper", 10).gamma == pytest.approx(5 / math.sqrt(90))
    assert SDPenalty(5.0).rescaled("code", 10).gamma == pytest.approx(5 * math.sqrt(90))


@pytest.mark.parametrize("scaling", ["paper", "code"])
def test_its_derivatives_are_those_of_finite_differences(scaling):
    z = logits().requires_grad_()
    with seeded(0):
        assert torch.autograd.gradcheck(SDPenalty(1.5, scaling), z)
        assert torch.autograd.gradgradcheck(SDPenalty(1.5, scaling), z)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e30])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_where_all_logits_are_equal_value_and_gradient_are_zero(value, kind):
    z = torch.full((2, 3), value, dtype=kind)
    z[1, 0] = 2.0 if abs(value) < 1 else -value
    z.requires_grad_()
    found = SDPenalty(2.0)(z)
    (slope,) = torch.autograd.grad(found[0], z)
    assert found[0] == 0
    assert torch.equal(slope, torch.zeros_like(z))
    by_vmap = vmap(grad(lambda row: SDPenalty(2.0)(row[None])[0]))(z.detach())
    assert torch.equal(by_vmap[0], torch.zeros(3, dtype=kind))


def test_a_head_that_starts_at_zero_trains_in_a_user_s_own_loop():
    with seeded(0):
        model = nn.Linear(FEATURES, CLASSES)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x = torch.randn(4, FEATURES, generator=generator(0))
    z = model(x)
    (nn.functional.cross_entropy(z, torch.arange(4) % 3) + SDPenalty(1.0)(z).mean()).backward()
    assert model.weight.grad.isfinite().all()
    assert model.weight.grad.abs().max() > 0


def test_it_does_not_hide_what_is_not_finite():
    z = logits()
    z[2, 1], z[3, 0] = math.nan, math.inf
    assert SDPenalty(1.0)(z).isnan().tolist() == [False, False, True, True, False, False, False]
    assert torch.equal(SDPenalty(0.0)(z), torch.zeros(7, dtype=z.dtype))  # the loss will say it


def test_half_precision_is_measured_in_float32():
    z = 100 + logits().bfloat16()
    found = SDPenalty(1.0)(z)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, SDPenalty(1.0)(z.float()))


@pytest.mark.parametrize("scaling", ["paper", "code"])
def test_a_group_trains_as_members_one_by_one(scaling):
    problem = tiny64(penalty=SDPenalty(2.0, scaling))
    alone, group = (train(problem, "original", range(3), seed=0, group=g)[0] for g in (1, 3))
    for name, value in alone.tensors().items():
        torch.testing.assert_close(group.tensors()[name], value, rtol=1e-12, atol=1e-15)


def test_a_module_that_no_group_bears_trains_too():
    found = train(tiny(Recurrent, penalty=SDPenalty(2.0)), "original", range(2), seed=0)[0]
    plain = train(tiny(Recurrent), "original", range(2), seed=0)[0]
    assert not torch.equal(found.tensors()["head.weight"], plain.tensors()["head.weight"])


@pytest.mark.parametrize("group", [1, 3])
def test_gamma_zero_changes_no_bit(group):
    with_it, without = (
        train(tiny(**settings), "original", range(3), seed=0, group=group)[0].tensors()
        for settings in ({"penalty": SDPenalty(0.0)}, {})
    )
    assert all(torch.equal(with_it[name], without[name]) for name in without)


def spread(gamma: float) -> float:
    """The mean standard deviation of a row's logits after training with this gamma."""
    problem = tiny64(penalty=SDPenalty(gamma), epochs=40)
    models, _ = train(problem, "original", range(3), seed=0, group=3)
    outputs = models.outputs(problem.task, problem.train, torch.arange(60))
    return float(outputs.std(-1, correction=0).mean())


def test_the_larger_gamma_the_closer_the_logits():
    found = [spread(gamma) for gamma in (0.0, 0.1, 0.3)]
    assert found == sorted(found, reverse=True)
    assert found[2] < 0.7 * found[0]


def test_recipes_of_other_gammas_have_other_names(tmp_path):
    store, gammas = Store(tmp_path), (0.1, 0.11, 1.0, 5.0)
    names = [recipe_fingerprint(tiny(penalty=SDPenalty(g)), store, "cpu") for g in gammas]
    plain = recipe_fingerprint(tiny(), store, "cpu")
    assert len({plain, *names}) == 5
    assert recipe_fingerprint(tiny(penalty=SDPenalty(0.0)), store, "cpu") == plain
    code = SDPenalty(5.0).rescaled("code", CLASSES)
    assert recipe_fingerprint(tiny(penalty=code), store, "cpu") == names[-1]


def test_it_travels_to_other_processes_and_is_a_public_name():
    penalty = SDPenalty(2.0, "code")
    assert pickle.loads(pickle.dumps(penalty)) == penalty
    assert expunge.SDPenalty is SDPenalty


@pytest.mark.parametrize("gamma", [-0.1, math.nan, math.inf, "5"])
def test_a_gamma_that_is_none(gamma):
    with pytest.raises(BadInput, match="an SD penalty of gamma .*a finite number, 0 or more"):
        SDPenalty(gamma)


def test_a_scaling_that_is_none():
    with pytest.raises(BadInput, match=r"unknown scaling 'papers'.* \(did you mean 'paper'"):
        SDPenalty(1.0, "papers")
    with pytest.raises(BadInput, match="unknown scaling 'kode'.*one of paper, code"):
        SDPenalty(1.0).rescaled("kode", 3)
    with pytest.raises(BadInput, match="an SD penalty for 1 classes"):
        SDPenalty(1.0).rescaled("code", 1)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize(
    ("outputs", "match"),
    [
        (torch.zeros(4, 1), r"outputs of shape \(4, 1\).*at least 2 classes.*a regression"),
        (torch.zeros(4), r"outputs of shape \(4,\)"),
        (torch.zeros(4, 5, 3), r"outputs of shape \(4, 5, 3\)"),
        (torch.zeros(4, 3, dtype=torch.int64), r"shape \(4, 3\), torch.int64"),
        ([[0.0, 1.0]], "was given a list.*pass the logits alone"),
    ],
)
def test_outputs_that_are_no_logits(outputs, match, gamma):
    with pytest.raises(BadInput, match=match):
        SDPenalty(gamma)(outputs)
