"""HalfModels against naive twins, and in linear worlds where the truth is known.

World: model m is trained on h of n rows; each of its outputs is the sum over its rows of beta_i,
plus noise. The betas of an output sum to zero, so that replacing a row is removing it. Then

    E[f | i in S] - E[f | i not in S] = beta_i n / (n - 1),

since one row in means that, on average, each other row is in slightly less often.
"""

import math

import pytest
import torch

from expunge.attribution.half_models import STRENGTHS, HalfModels
from expunge.contract.problems import generator
from expunge.errors import BadInput

N, H = 12, 6
FORGET = torch.tensor([2, 5, 6])


def halves(models: int, seed: int) -> torch.Tensor:
    g = generator(seed)
    return torch.stack([torch.randperm(N, generator=g)[:H].sort().values for _ in range(models)])


def effects(outputs: int, seed: int = 0) -> torch.Tensor:
    """(N, outputs), each column with sum zero."""
    beta = torch.randn(N, outputs, generator=generator(seed), dtype=torch.float64)
    return beta - beta.mean(0)


def world(models: int, outputs: int, noise: float, seed: int = 0, scale: float = 1.0):
    """A HalfModels on the train split (rows N) and the test split (7 rows), and both betas."""
    rows = halves(models, seed)
    x = torch.zeros(models, N, dtype=torch.float64).scatter_(1, rows, 1.0)
    made, betas = {}, {}
    for k, (split, size) in enumerate({"train": N, "test": 7}.items()):
        beta = scale * effects(size * outputs, seed=100 * seed + k)
        error = torch.randn(models, size * outputs, generator=generator(7 + 100 * seed + k))
        made[split] = (x @ beta + noise * error).reshape(models, size, outputs).float()
        betas[split] = beta.reshape(N, size, outputs)
    return HalfModels(rows, made, torch.ones(N, dtype=torch.bool)), betas


# ---- naive twins


def naive_difference(model: HalfModels, split: str, row: int) -> torch.Tensor:
    total = 0.0
    for i in FORGET.tolist():
        with_i, without_i = [], []
        for m, own in enumerate(model.rows.tolist()):
            (with_i if i in own else without_i).append(model.outputs[split][m, row].double())
        total = total + torch.stack(with_i).mean(0) - torch.stack(without_i).mean(0)
    return -total


def fitted(x: torch.Tensor, z: torch.Tensor, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(betas, intercept) of ridge with a free intercept, by the primal normal equations."""
    xc, zc = x - x.mean(0), z - z.mean(0)
    beta = torch.linalg.solve(xc.T @ xc + strength * torch.eye(N, dtype=x.dtype), xc.T @ zc)
    return beta, z.mean(0) - x.mean(0) @ beta


def memberships(model: HalfModels) -> torch.Tensor:
    return torch.tensor(
        [[float(i in own) for i in range(N)] for own in model.rows.tolist()], dtype=torch.float64
    )


def test_own_rows_are_predicted_by_the_difference_of_means():
    model, _ = world(30, 2, noise=1.0)
    found = model.without(FORGET, FORGET.flip(0))
    for k, row in enumerate(FORGET.flip(0).tolist()):
        assert (found.mean[k] - naive_difference(model, "train", row)).abs().max() < 1e-10


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("models", [9, 40])
def test_other_rows_are_predicted_by_ridge(split, models):
    model, _ = world(models, 2, noise=1.0)
    x = memberships(model)
    others = [0, 1, 3, 4] if split == "train" else [0, 5, 6]
    found = model.without(FORGET, torch.tensor(others), split)
    for k, row in enumerate(others):
        beta, _ = fitted(x, model.outputs[split][:, row].double(), model.strength)
        assert (found.mean[k] + beta[FORGET].sum(0)).abs().max() < 1e-9


def test_a_row_number_of_another_split_is_no_forgotten_row():
    """Test row 2 is not train row 2: it is predicted by ridge."""
    model, _ = world(30, 1, noise=1.0)
    beta, _ = fitted(memberships(model), model.outputs["test"][:, 2].double(), model.strength)
    found = model.without(FORGET, torch.tensor([2]), "test")
    assert (found.mean[0] + beta[FORGET].sum(0)).abs().max() < 1e-9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("models", "noise"), [(8, 1.0), (14, 2.0), (30, 6.0)])
def test_the_strength_has_the_least_error_on_a_model_left_out(models, noise, seed):
    """By actually leaving each one out, for every strength tried."""
    model, _ = world(models, 3, noise, seed)
    x = memberships(model)
    z = torch.cat([part.flatten(1) for part in model.outputs.values()], 1).double()
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
    assert model.strength == pytest.approx(tried[errors.index(min(errors))], rel=1e-9)


def test_absent_rows_play_no_part():
    """Halves drawn from some rows only: the others may lie anywhere among the numbers."""
    model, _ = world(30, 2, noise=1.0)
    place = torch.tensor([0, 2, 3, 5, 6, 7, 10, 11, 12, 13, 15, 16])
    present = torch.zeros(18, dtype=torch.bool)
    present[place] = True
    outputs = {"train": torch.zeros(30, 18, 2), "test": model.outputs["test"]}
    outputs["train"][:, place] = model.outputs["train"]
    wider = HalfModels(place[model.rows], outputs, present)
    wider.__dict__["strength"] = model.strength  # columns of zeros change the sample it is from
    for split, rows in (("train", torch.arange(N)), ("test", torch.arange(7))):
        asked = place[rows] if split == "train" else rows
        a, b = model.without(FORGET, rows, split), wider.without(place[FORGET], asked, split)
        assert (a.mean - b.mean).abs().max() < 1e-10
        assert (a.sd - b.sd).abs().max() < 1e-10


# ---- linear worlds


def test_the_difference_of_means_is_unbiased():
    """300 replications of 40 models; |mean - truth| <= 5 sd / sqrt(300) for 6 outputs.

    False alarm 3e-6. The truth is about 1.7 sd away from zero, so an error of 20 % is seen.
    """
    runs = []
    beta = effects(2 * N)
    truth = -beta.reshape(N, N, 2)[FORGET].sum(0)[FORGET] * N / (N - 1)
    for seed in range(300):
        rows = halves(40, 1000 + seed)
        x = torch.zeros(40, N, dtype=torch.float64).scatter_(1, rows, 1.0)
        error = torch.randn(40, 2 * N, generator=generator(seed))
        z = (x @ beta + error).reshape(40, N, 2).float()
        model = HalfModels(rows, {"train": z}, torch.ones(N, dtype=torch.bool))
        runs.append(model._predict(model.mean_weights(FORGET), FORGET, "train")[0])
    found = torch.stack(runs)
    limit = 5 * found.std(0) / math.sqrt(len(runs))
    assert ((found.mean(0) - truth).abs() <= limit).all()
    assert limit.max() < 0.2 * truth.abs().max()


def test_ridge_is_exact_in_a_noiseless_world_of_many_models():
    model, betas = world(80, 2, noise=0.0)
    x = memberships(model)
    smallest = 1e-3 * float((x - x.mean(0)).square().sum()) / 80
    assert model.strength == pytest.approx(smallest, rel=1e-6)  # least shrinkage is best here
    model.__dict__["strength"] = 1e-9
    found = model.without(FORGET, torch.arange(7), "test").mean
    assert (found + betas["test"][FORGET].sum(0)).abs().max() < 1e-5  # outputs are float32


def test_ridge_shrinks_where_there_is_nothing_but_noise():
    model, _ = world(30, 40, noise=1.0, scale=0.0)
    x = memberships(model)
    assert model.strength > 10 * float((x - x.mean(0)).square().sum()) / 30
    found = model.without(FORGET, torch.arange(7), "test").mean
    assert found.std() < 0.05


@pytest.mark.parametrize("which", ["forgotten", "others"])
def test_the_standard_error_is_calibrated(which):
    """Noise alone: 1,500 errors in units of their sd have variance 1 +- 5 sqrt(2 / 1500).

    So 22 % of misstated variance is seen.
    """
    rows = FORGET if which == "forgotten" else torch.tensor([0, 1, 3])
    model, _ = world(60, 500, noise=2.0, scale=0.0)
    found = model.without(FORGET, rows)
    assert (found.sd > 0).all()
    variance = float((found.mean / found.sd).square().mean())
    assert abs(variance - 1) < 5 * math.sqrt(2 / 1500) + 2 / 60  # sds come from 60 models


def test_more_models_predict_better():
    errors = []
    for models in (20, 80, 320):
        model, betas = world(models, 20, noise=3.0)
        found = model.without(FORGET, torch.arange(7), "test").mean
        errors.append(float((found + betas["test"][FORGET].sum(0)).square().mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.2


# ---- refusals


def test_rows_that_no_half_was_drawn_from_are_refused():
    model, _ = world(20, 1, noise=1.0)
    present = torch.ones(N, dtype=torch.bool)
    present[5] = False
    model = HalfModels(model.rows, model.outputs, present)
    with pytest.raises(BadInput, match=r"row 5 was in no half-data model \(1 such\)"):
        model.without(FORGET, torch.arange(3))


@pytest.mark.parametrize("models", [2, 3])
def test_too_few_models_are_refused(models):
    model, _ = world(models, 1, noise=1.0)
    with pytest.raises(BadInput, match="so few that a forgotten row is in nearly all or none"):
        model.without(torch.arange(N), torch.arange(3))
