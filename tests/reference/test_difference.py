"""Difference of means against a loop over models, and in linear worlds where the truth is known."""

import math

import pytest
import torch

from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import SURE, Difference, difference, enough
from expunge.attribution.half_data_models import ROWS, HalfDataModels
from expunge.contract.problems import generator
from expunge.errors import BadInput

from .linear_worlds import ALL, EVERY, FORGET, TESTED, N, effects, halves, onehot, truth, world

TEST = torch.arange(TESTED)


def naive_difference(whole: HalfDataModels, split: str, row: int) -> torch.Tensor:
    total = 0.0
    for i in FORGET.tolist():
        with_i, without_i = [], []
        for m, own in enumerate(whole.rows.tolist()):
            (with_i if i in own else without_i).append(whole.blocks[0][split][m, row].double())
        total = total + torch.stack(with_i).mean(0) - torch.stack(without_i).mean(0)
    return -total


@pytest.mark.parametrize(("split", "rows"), [("train", [6, 5, 2, 0]), ("test", [2, 6])])
def test_the_change_is_minus_the_difference_of_means(split, rows):
    whole, _ = world(30, 2, noise=1.0)
    found = Difference(whole).without(FORGET, torch.tensor(rows), split)
    for k, row in enumerate(rows):
        assert (found.mean[k] - naive_difference(whole, split, row)).abs().max() < 1e-10


def test_the_weights_are_the_formula_and_sum_to_zero():
    inside = onehot(halves(30, 0))[:, FORGET]
    found = difference(inside)
    for m in (0, 7):
        count = inside.sum(0)
        by_hand = sum(
            1 / count[i] if inside[m, i] else -1 / (30 - count[i]) for i in range(len(FORGET))
        )
        assert found[m] == pytest.approx(float(by_hand))
    assert abs(float(found.sum())) < 1e-12


def test_over_all_halves_it_is_the_sum_of_the_effects_of_rows():
    """Up to N / (N - 1), and for effects that sum to zero: exactly."""
    beta = effects(TESTED * 2)
    z = (onehot(ALL) @ beta).reshape(len(ALL), TESTED, 2)
    found = Difference(HalfDataModels([{ROWS: ALL, "test": z}], EVERY)).without(
        FORGET, TEST, "test"
    )
    expected = truth({"test": beta.reshape(N, TESTED, 2)}, "test")
    assert (found.mean - expected).abs().max() < 1e-10
    assert expected.abs().max() > 1


def test_what_every_row_does_alike_is_not_seen():
    """Halves of equal size show effects only relative to the mean effect of a row."""
    beta = effects(TESTED * 2)
    z = [(onehot(ALL) @ b).reshape(len(ALL), TESTED, 2) for b in (beta, beta + 3.0)]
    a, b = (
        Difference(HalfDataModels([{ROWS: ALL, "test": one}], EVERY)).without(FORGET, TEST, "test")
        for one in z
    )
    assert (a.mean - b.mean).abs().max() < 1e-10


def test_the_difference_of_means_is_unbiased():
    """300 replications of 40 models; |mean - truth| <= 5 sd / sqrt(300) for 6 outputs.

    False alarm 3e-6. The truth is about 1.7 sd away from zero, so an error of 20 % is seen.
    """
    runs = []
    beta = effects(2 * N)
    expected = truth({"train": beta.reshape(N, N, 2)}, "train")[FORGET]
    for seed in range(300):
        rows = halves(40, 1000 + seed)
        x = torch.zeros(40, N, dtype=torch.float64).scatter_(1, rows, 1.0)
        error = torch.randn(40, 2 * N, generator=generator(seed))
        z = (x @ beta + error).reshape(40, N, 2).float()
        model = Difference(HalfDataModels([{ROWS: rows, "train": z}], EVERY))
        runs.append(model.without(FORGET, FORGET).mean)
    found = torch.stack(runs)
    limit = 5 * found.std(0) / math.sqrt(len(runs))
    assert ((found.mean(0) - expected).abs() <= limit).all()
    assert limit.max() < 0.2 * expected.abs().max()


@pytest.mark.parametrize("rows", [FORGET, torch.tensor([0, 1, 3])], ids=["forgotten", "others"])
def test_the_standard_error_is_calibrated(rows):
    """Noise alone: 1,500 errors in units of their sd have variance 1 +- 5 sqrt(2 / 1500).

    So 22 % of misstated variance is seen.
    """
    whole, _ = world(60, 500, noise=2.0, scale=0.0)
    found = Difference(whole).without(FORGET, rows)
    assert (found.sd > 0).all()
    variance = float((found.mean / found.sd).square().mean())
    assert abs(variance - 1) < 5 * math.sqrt(2 / 1500) + 2 / 60  # sds come from 60 models


def test_the_noise_is_what_the_docstring_says():
    """Variance about 4 |F| / M of an output's; rows are in half the models only on average.

    In halves of equal size two rows' memberships have correlation -1/(N - 1), which takes
    (|F| - 1) / (N - 1) = 2/11 away: between 0.7 and 0.95 here.
    """
    whole, _ = world(2000, 1, noise=1.0)
    weights = difference(whole.memberships(FORGET))
    assert 0.7 < float(weights.square().sum()) / (4 * len(FORGET) / 2000) < 0.95


def test_more_models_predict_better():
    """By theory the squared error falls like 1 / M."""
    errors = []
    for models in (20, 80, 320):
        whole, betas = world(models, 60, noise=3.0)
        found = Difference(whole).without(FORGET, TEST, "test").mean
        errors.append(float((found - truth(betas, "test")).square().mean()))
    assert errors[0] > 2.5 * errors[1] > 6.25 * errors[2]


# ---- refusals


@pytest.mark.parametrize("models", [2, 3])
def test_too_few_models_are_refused(models):
    model = Difference(world(models, 1, noise=1.0)[0])
    told = (
        f"{models} half-data models, so few that a forgotten row is in nearly all or none. "
        f"Expected: at least {enough(N)} for {N} forgotten rows"
    )
    with pytest.raises(BadInput, match=told):
        model.without(torch.arange(N), torch.arange(3))


def test_two_models_on_either_side_are_enough():
    inside = torch.tensor([[1.0, 0], [1, 1], [0, 1], [0, 0]]).double()
    assert torch.equal(difference(inside), torch.tensor([0.0, 1, 0, -1]).double())
    with pytest.raises(BadInput, match="4 half-data models, so few"):
        difference(torch.tensor([[1.0, 1], [1, 1], [0, 1], [0, 0]]).double())


@pytest.mark.parametrize("forget", [1, 3, 40])
def test_as_many_models_as_it_says_are_enough(forget):
    """The chance that one of the rows is in fewer than two models, or out of fewer, by adding up.

    Drawn 4,000 times it happens at most 5 sd more often.
    """
    models = enough(forget)
    chance = 2 * forget * sum(math.comb(models, k) for k in (0, 1)) / 2**models
    assert chance <= SURE < 2 * forget * models / 2 ** (models - 1)
    inside = torch.randint(2, (4000, models, forget), generator=generator(forget))
    count = inside.sum(1)
    failed = ((count < 2) | (count > models - 2)).any(1).double().mean()
    assert failed <= chance + 5 * math.sqrt(SURE / 4000)


def test_datamodels_name_the_models_that_are_needed_in_all():
    """Each half of the models has to be enough."""
    whole, _ = world(8, 1, noise=1.0)
    told = (
        "4 half-data models in each of 2 parts, so few that a forgotten row is in nearly all or "
        f"none. Expected: at least {2 * enough(N)} for {N} forgotten rows"
    )
    with pytest.raises(BadInput, match=told):
        Datamodels(whole).without(torch.arange(N), torch.arange(3))
