"""The lasso on memberships: sparse truths are found, noise is not, and it shrinks."""

import warnings

import pytest
import torch
from sklearn.linear_model import Lasso as One

from expunge.attribution import lasso
from expunge.attribution.half_data_models import ROWS, HalfDataModels
from expunge.attribution.lasso import HELD_OUT, Lasso, _path
from expunge.contract.problems import generator
from expunge.errors import BadInput

from .linear_worlds import FORGET, N, halves

EVERY = torch.ones(N, dtype=torch.bool)
ROWS_ASKED = torch.tensor([1, 4])


def sparse(models: int, noise: float, effect: float = 2.0) -> HalfDataModels:
    """Only row FORGET[0] has an effect, on every output alike."""
    rows = halves(models, 3)
    inside = (rows == FORGET[0]).any(1).double()[:, None, None]
    error = torch.randn(models, N, 2, generator=generator(5))
    return HalfDataModels([{ROWS: rows, "train": (effect * inside + noise * error).float()}], EVERY)


def test_a_sparse_effect_is_found_with_its_sign():
    found = Lasso(sparse(300, 0.1)).without(FORGET, ROWS_ASKED).mean
    assert found.shape == (2, 2)
    assert torch.allclose(found, torch.tensor(-2.0).double(), atol=0.15)


def test_rows_without_an_effect_change_nothing():
    others = torch.tensor([i for i in range(N) if i not in FORGET.tolist()][:3])
    found = Lasso(sparse(300, 0.1)).without(others, ROWS_ASKED).mean
    assert found.abs().max() < 0.1


def test_noise_alone_is_set_to_almost_nothing():
    found = Lasso(sparse(300, 1.0, effect=0.0)).without(FORGET, ROWS_ASKED).mean
    assert found.abs().max() < 0.2


def test_the_path_is_that_of_one_lasso_at_each_strength():
    whole = sparse(60, 1.0)
    x, z = whole.memberships(torch.arange(N)), whole.blocks[0]["train"][:, 0, 0].double()
    strengths, paths = _path(x, z)
    for k in (10, 30):
        model = One(alpha=float(strengths[k]), tol=1e-8, random_state=0).fit(x.numpy(), z.numpy())
        assert torch.allclose(paths[:, k], torch.as_tensor(model.coef_), atol=1e-3)


def test_the_strength_has_the_least_error_on_models_held_out():
    """Chosen anew by hand, with an intercept from the models that were fitted."""
    whole = sparse(80, 2.0)
    x, z = whole.memberships(torch.arange(N)), whole.blocks[0]["train"][:, 1, 1].double()
    held = torch.arange(80) % HELD_OUT == HELD_OUT - 1
    strengths, _ = _path(x[~held], z[~held])
    errors = []
    for strength in strengths.tolist():
        model = One(alpha=strength, tol=1e-8, random_state=0).fit(
            x[~held].numpy(), z[~held].numpy()
        )
        errors.append(float((torch.as_tensor(model.predict(x[held])) - z[held]).square().mean()))
    best = strengths[errors.index(min(errors))]
    wanted = One(alpha=float(best), tol=1e-8, random_state=0).fit(x.numpy(), z.numpy()).coef_
    found = Lasso(whole).without(FORGET, torch.tensor([1])).mean[0, 1]
    assert float(found) == pytest.approx(-float(wanted[FORGET.numpy()].sum()), abs=5e-3)


def test_absent_rows_play_no_part():
    whole = sparse(60, 0.5)
    (block,) = whole.blocks
    place = torch.tensor([0, 2, 3, 5, 6, 7, 10, 11, 12, 13, 15, 16])
    present = torch.zeros(18, dtype=torch.bool)
    present[place] = True
    wider = HalfDataModels([{ROWS: place[block[ROWS]], "train": block["train"]}], present)
    a = Lasso(whole).without(FORGET, ROWS_ASKED).mean
    b = Lasso(wider).without(place[FORGET], ROWS_ASKED).mean
    assert torch.allclose(a, b, atol=1e-12)


def test_too_few_models_are_refused():
    with pytest.raises(BadInput, match="a lasso from 19 half-data models.*at least 20"):
        Lasso(sparse(19, 1.0)).without(FORGET, ROWS_ASKED)


def test_a_long_lasso_says_so_after_the_first_output(monkeypatch):
    whole = sparse(40, noise=1.0)
    monkeypatch.setattr(lasso, "LONG", 0.0)
    with pytest.warns(UserWarning, match=r"about 0 minutes more for 6 outputs; --attribution data"):
        Lasso(whole).without(FORGET, torch.arange(3))
    monkeypatch.setattr(lasso, "LONG", 1e9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Lasso(whole).without(FORGET, torch.arange(3))
