"""The ceiling of the linear datamodelling score: what noise of the truth leaves."""

import pytest
import torch

from expunge.audit.metrics.ceiling import ceiling
from expunge.audit.metrics.lds import lds
from expunge.errors import BadInput
from expunge.rng import Draws


def noisy(noise: float, subsets: int = 40, models: int = 6, outputs: int = 600):
    """An expected truth (subsets, outputs), and models (subsets, models, outputs) around it."""
    draws = Draws((0, "ceiling"))
    truth = draws.at("truth").normal((subsets, outputs))
    return truth, truth[:, None] + noise * draws.at("noise").normal((subsets, models, outputs))


def test_it_is_the_score_of_the_expected_truth():
    for noise in (0.5, 2.0, 5.0):
        truth, models = noisy(noise)
        found = ceiling(models)
        reached = lds(truth, models.mean(1)).value
        assert found.value == pytest.approx(reached, abs=0.02), noise
        assert found.low <= found.value <= found.high


def test_models_that_agree_leave_everything_and_pure_noise_leaves_nothing():
    truth, _ = noisy(0.0)
    assert ceiling(truth[:, None].expand(-1, 4, -1)).value == pytest.approx(1.0)
    _, models = noisy(1.0)
    nothing = ceiling(models - models.mean(1, keepdim=True))
    assert nothing.value == 0.0
    assert nothing.halves < 0


def test_too_few_are_told():
    with pytest.raises(BadInput, match="9 held-out subsets of 2 model"):
        ceiling(torch.zeros(9, 2, 3))
    with pytest.raises(BadInput, match="10 held-out subsets of 1 model.*at least 10 subsets of 2"):
        ceiling(torch.zeros(10, 1, 3))
