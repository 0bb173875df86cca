"""Ridge datamodels against the primal normal equations, and in linear worlds."""

import math

import pytest
import torch

from expunge.attribution import ridge
from expunge.attribution.half_data_models import ROWS, HalfDataModels
from expunge.attribution.ridge import STRENGTHS, Ridge

from .linear_worlds import ALL, EVERY, FORGET, TESTED, N, effects, onehot, truth, world

TEST = torch.arange(TESTED)


def fitted(x: torch.Tensor, z: torch.Tensor, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(betas, intercept) of ridge with a free intercept, by the primal normal equations."""
    xc, zc = x - x.mean(0), z - z.mean(0)
    beta = torch.linalg.solve(xc.T @ xc + strength * torch.eye(N, dtype=x.dtype), xc.T @ zc)
    return beta, z.mean(0) - x.mean(0) @ beta


@pytest.mark.parametrize(("split", "rows"), [("train", [0, 5, 3, 6]), ("test", [0, 5, 6, 2])])
@pytest.mark.parametrize("models", [9, 40])
def test_the_change_is_minus_the_coefficients_of_the_forgotten_rows(split, rows, models):
    """Forgotten rows themselves and others, fewer models than rows and more."""
    whole, _ = world(models, 2, noise=1.0)
    model = Ridge(whole)
    found = model.without(FORGET, torch.tensor(rows), split)
    x = onehot(whole.rows)
    for k, row in enumerate(rows):
        beta, _ = fitted(x, whole.blocks[0][split][:, row].double(), model.strength)
        assert (found.mean[k] + beta[FORGET].sum(0)).abs().max() < 1e-9


@pytest.mark.parametrize("models", [9, 40])
def test_datamodels_are_the_coefficients_of_every_row_for_the_outputs_asked_about(
    monkeypatch, models
):
    monkeypatch.setattr(ridge, "COLUMNS", 5)  # rows in pieces
    whole, _ = world(models, 2, noise=1.0)
    model = Ridge(whole)
    found = model.datamodels({"train": torch.tensor([1, 6]), "test": torch.tensor([3])})
    x, block = onehot(whole.rows), whole.blocks[0]
    outputs = [block["test"][:, 1, 1], block["train"][:, 0, 1], block["train"][:, 3, 0]]
    beta, _ = fitted(x, torch.stack(outputs, 1).double(), model.strength)
    assert (found - beta).abs().max() < 1e-9


def test_the_effect_of_a_set_is_the_sum_of_the_effects_of_its_rows():
    model = Ridge(world(30, 1, noise=1.0)[0])
    alone = sum(model.weights(row[None]) for row in FORGET)
    assert torch.allclose(model.weights(FORGET), alone, atol=1e-12)
    assert abs(float(model.weights(FORGET).sum())) < 1e-10


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("models", "noise"), [(8, 1.0), (14, 2.0), (30, 6.0)])
def test_the_strength_has_the_least_error_on_a_model_left_out(models, noise, seed):
    """By actually leaving each one out, for every strength tried."""
    whole, _ = world(models, 3, noise, seed)
    x = onehot(whole.rows)
    z = torch.cat([whole.blocks[0][name].flatten(1) for name in ("train", "test")], 1).double()
    centred = x - x.mean(0)
    scale = float(torch.linalg.eigvalsh(centred @ centred.T).clamp_min(0).mean())
    tried = (torch.logspace(-3, 3, STRENGTHS, dtype=torch.float64) * scale).tolist()
    errors = []
    for strength in tried:
        total = 0.0
        for out in range(models):
            keep = torch.arange(models) != out
            beta, intercept = fitted(x[keep], z[keep], strength)
            total += float((z[out] - x[out] @ beta - intercept).square().mean())
        errors.append(total)
    assert Ridge(whole).strength == pytest.approx(tried[errors.index(min(errors))], rel=1e-9)


def test_it_is_exact_in_a_noiseless_world_of_many_models():
    whole, betas = world(80, 2, noise=0.0)
    model, x = Ridge(whole), onehot(whole.rows)
    smallest = 1e-3 * float((x - x.mean(0)).square().sum()) / 80
    assert model.strength == pytest.approx(smallest, rel=1e-6)  # least shrinkage is best here
    model.__dict__["strength"] = 1e-9
    found = model.without(FORGET, TEST, "test").mean
    assert (found + betas["test"][FORGET].sum(0)).abs().max() < 1e-5  # outputs are float32


def test_over_all_halves_it_is_the_difference_shrunk():
    """There X^T X is M h (N - h) / (N (N - 1)) on all that sums to zero: shrinkage is one number.

    Unshrunk the sum of the betas is found, which is (N - 1) / N of the difference of means.
    """
    beta = effects(TESTED * 2)
    z = (onehot(ALL) @ beta).reshape(len(ALL), TESTED, 2)
    model = Ridge(HalfDataModels([{ROWS: ALL, "test": z}], EVERY))
    model.__dict__["strength"] = 100.0
    size = len(ALL) * 6 * 6 / (N * (N - 1))
    expected = truth({"test": beta.reshape(N, TESTED, 2)}, "test") * (N - 1) / N
    found = model.without(FORGET, TEST, "test").mean
    assert (found - expected * size / (size + 100)).abs().max() < 1e-9


def test_it_shrinks_where_there_is_nothing_but_noise():
    whole, _ = world(30, 40, noise=1.0, scale=0.0)
    x = onehot(whole.rows)
    model = Ridge(whole)
    assert model.strength > 10 * float((x - x.mean(0)).square().sum()) / 30
    assert model.without(FORGET, TEST, "test").mean.std() < 0.05


@pytest.mark.parametrize("rows", [FORGET, torch.tensor([0, 1, 3])], ids=["forgotten", "others"])
def test_the_standard_error_is_calibrated(rows):
    """Noise alone: 1,500 errors in units of their sd have variance 1 +- 5 sqrt(2 / 1500)."""
    found = Ridge(world(60, 500, noise=2.0, scale=0.0)[0]).without(FORGET, rows)
    assert (found.sd > 0).all()
    variance = float((found.mean / found.sd).square().mean())
    assert abs(variance - 1) < 5 * math.sqrt(2 / 1500) + 2 / 60  # sds come from 60 models


def test_more_models_predict_better():
    errors = []
    for models in (20, 80, 320):
        whole, betas = world(models, 20, noise=3.0)
        found = Ridge(whole).without(FORGET, TEST, "test").mean
        errors.append(float((found + betas["test"][FORGET].sum(0)).square().mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.2
