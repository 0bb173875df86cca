"""Datamodels: the docstring written out naively, planted changes, and what theory expects."""

import math

import pytest
import torch
from torch import Tensor

from expunge.attribution.difference import Difference
from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.shrinkage import Shrinkage
from expunge.contract.problems import generator
from expunge.engine.shifted import Change

from .linear_worlds import FORGET, TESTED, N, bold, halved, noisy, told, truth, world

TRAIN, TEST = torch.arange(N), torch.arange(TESTED)
FORGOTTEN = torch.isin(TRAIN, FORGET)


def naive(whole: HalfDataModels, split: str, rows: list[int], around: Tensor | None) -> Change:
    """One output at a time, in plain numbers, from the docstring; trust is of all rows."""
    (size, classes), models = whole.splits[split], len(whole)
    (block,), own = whole.blocks, whole.rows.tolist()

    def difference(chosen: range, row: int, c: int) -> float:
        total = 0.0
        for i in FORGET.tolist():
            z = {m: float(block[split][m, row, c]) for m in chosen}
            saw = [z[m] for m in chosen if i in own[m]]
            did_not = [z[m] for m in chosen if i not in own[m]]
            total += sum(did_not) / len(did_not) - sum(saw) / len(saw)
        return total

    def noise(row: int, c: int) -> float:
        """The sd of an output over models, times the root of the sum of squared weights."""
        weight = [0.0] * models
        for i in FORGET.tolist():
            count = sum(i in rows for rows in own)
            for m in range(models):
                weight[m] += 1 / count if i in own[m] else -1 / (models - count)
        spread = float(block[split][:, row, c].double().std())
        return spread * math.sqrt(sum(w * w for w in weight))

    mean, sd = (torch.zeros(len(rows), classes, dtype=torch.float64) for _ in range(2))
    for forgotten in (True, False):
        group = [
            (row, c)
            for row in range(size)
            for c in range(classes)
            if (split == "train" and row in FORGET.tolist()) == forgotten
        ]
        if not group:
            continue
        L = [0.0 if around is None else float(around[row, c]) for row, c in group]
        D, A, B = (
            [difference(chosen, row, c) for row, c in group]
            for chosen in (range(models), range(0, models, 2), range(1, models, 2))
        )
        A, B = ([d - x for d, x in zip(part, L, strict=True)] for part in (A, B))
        signal = sum(x * y for x, y in zip(A, B, strict=True))
        both = sum(((x + y) / 2) ** 2 for x, y in zip(A, B, strict=True))
        k = min(1.0, max(0.0, signal / both))
        for (row, c), d, x in zip(group, D, L, strict=True):
            if row in rows:
                place = rows.index(row)
                mean[place, c] = x + k * (d - x)
                sd[place, c] = math.sqrt(k) * noise(row, c)
    return Change(mean, sd)


@pytest.mark.parametrize("around", [False, True], ids=["alone", "around"])
@pytest.mark.parametrize(("split", "rows"), [("train", [5, 0, 2, 9]), ("test", [2, 5, 1])])
@pytest.mark.parametrize("models", [30, 41])
def test_it_is_the_docstring(around, split, rows, models):
    """Forgotten rows and others apart; of the test split no row is forgotten, whatever number."""
    whole, betas = world(models, 2, noise=1.0, seed=4)  # no group is trusted wholly, or not at all
    other = told(betas, 0.7) if around else None
    found = bold(whole, other).without(FORGET, torch.tensor(rows), split)
    expected = naive(whole, split, rows, 0.7 * truth(betas, split) if around else None)
    found = Change(found.mean[0], found.sd[0]) if around else found
    assert (found.mean - expected.mean).abs().max() < 1e-9
    assert (found.sd - expected.sd).abs().max() < 1e-9
    assert found.mean.abs().max() > 0.1


# ---- how far the difference is trusted


def test_what_the_halves_of_the_models_say_alike_is_trusted_wholly():
    change = torch.randn(N, 2, generator=generator(0), dtype=torch.float64)
    model = bold(halved(change, change))
    found, trusts = model.trusted(FORGET, {"train": TRAIN})["train"]
    assert (found.mean - change).abs().max() < 1e-9
    for trust in trusts.values():
        assert trust.difference == pytest.approx(1.0)


def test_trust_is_by_hand_and_by_group():
    """Forgotten rows: D_B = D_A / 2, so k = (1/2) / (3/4)^2 = 8/9. Others: D_B = -D_A, k = 0."""
    change = torch.randn(N, 2, generator=generator(0), dtype=torch.float64)
    other = torch.where(FORGOTTEN[:, None], change / 2, -change)
    found, trusts = bold(halved(change, other)).trusted(FORGET, {"train": TRAIN})["train"]
    assert trusts["forgotten"].difference == pytest.approx(8 / 9)
    assert trusts["others"] == Shrinkage(0.0, 1.0, 0.0)
    assert (found.mean[FORGOTTEN] - 8 / 9 * 0.75 * change[FORGOTTEN]).abs().max() < 1e-9
    assert (found.mean[~FORGOTTEN] == 0).all()
    assert (found.sd[~FORGOTTEN] == 0).all()
    assert (found.sd[FORGOTTEN] > 0).all()


def test_halves_that_say_nothing_are_not_trusted():
    silent = torch.zeros(N, 2, dtype=torch.float64)
    found = bold(halved(silent, silent)).without(FORGET, TRAIN)
    assert (found.mean == 0).all()
    assert (found.sd == 0).all()


def test_noise_is_hardly_trusted():
    """Of n outputs of noise, k is 2 / sqrt(n) of a standard normal: below 5 of these."""
    whole, _ = world(60, 2000, noise=2.0, scale=0.0)
    _, trusts = bold(whole).trusted(FORGET, {"train": TRAIN})["train"]
    assert trusts["forgotten"].difference < 10 / math.sqrt(3 * 2000)
    assert trusts["others"].difference < 10 / math.sqrt(9 * 2000)


def test_a_world_without_noise_is_trusted_the_more_the_more_models_there_are():
    """What other rows did is noise too, of the order 4 |F| / M of an output's variance of N / 4."""
    found = []
    for models in (60, 4000):
        whole, _ = world(models, 20, noise=0.0)
        _, trusts = bold(whole).trusted(FORGET, {"test": TEST})["test"]
        found.append(trusts["others"].difference)
    assert 0.3 < found[0] < 0.95 < 0.98 < found[1] <= 1


def test_among_multiples_of_the_difference_it_errs_least():
    """With signal S and noise V an output, S V / (S + V), where the difference errs by V.

    S and V are taken as they happen to be. What is left is chance of the order 1 / sqrt(n): their
    product, 2 k (1 - k) <noise, signal> / n, has sd sqrt(S V / n) / 2; 5 of these for 5 sets of
    n = 1,200, and (S + V) / n for k being estimated.
    """
    off, limits = [], []
    for seed in range(5):
        whole, expected = noisy(seed)
        plain = Difference(whole).without(FORGET, FORGET).mean
        found = bold(whole).without(FORGET, FORGET)
        signal, noise = (float(x.square().mean()) for x in (expected, plain - expected))
        least, error = signal * noise / (signal + noise), (found.mean - expected).square().mean()
        assert 0.3 < signal / (signal + noise) < 0.7
        assert error < 0.8 * noise
        assert float(found.sd.square().mean() / least) == pytest.approx(1, abs=0.2)
        off.append(float(error) - least)
        limits.append(5 * math.sqrt(signal * noise / 1200) / 2 / 5**0.5 + (signal + noise) / 1200)
    assert abs(sum(off) / 5) < sum(limits) / 5


def test_so_it_does_on_average_over_random_halves():
    """40 models, 60 draws. By chance of the halves a single draw may be worse than the difference.

    Means within 5 standard errors of theory, and 10 % for k, whose sd is 0.12 in these worlds:
    an error of 0.12^2 (S + V), where S V / (S + V) is about a quarter of S + V.
    """
    gaps = []
    for seed in range(60):
        whole, betas = world(40, 50, noise=2.6, seed=seed)
        expected = truth(betas, "train")[FORGET]
        plain = Difference(whole).without(FORGET, FORGET).mean
        found = bold(whole).without(FORGET, FORGET)
        signal, noise = expected.square().mean(), (plain - expected).square().mean()
        error, least = (found.mean - expected).square().mean(), signal * noise / (signal + noise)
        variance = found.sd.square().mean()
        gaps.append(torch.stack([noise - error, error - 1.05 * least, error - 1.05 * variance]))
    mean, limit = torch.stack(gaps).mean(0), 5 * torch.stack(gaps).std(0) / math.sqrt(60)
    assert mean[0] > limit[0]
    assert (mean[1:].abs() < limit[1:]).all()
