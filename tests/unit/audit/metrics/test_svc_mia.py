import math

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from expunge.audit.metrics.svc_mia import balanced_svc_mia, svc_mia
from expunge.errors import BadInput


def draw(rows, center, spread=1.0, seed=0):
    return torch.randn(rows, generator=torch.Generator().manual_seed(seed)) * spread + center


def retained(rows=400, seed=1):
    return draw(rows, 3.0, 1.0, seed)


def unseen(rows=400, seed=2):
    return draw(rows, 1.0, 2.0, seed)


@pytest.mark.parametrize("retain_rows", [150, 100, 60])
def test_the_published_one_is_scikit_learn_on_the_first_rows(retain_rows):
    r, t, f = retained(retain_rows).sigmoid(), unseen(100).sigmoid(), unseen(80, 3).sigmoid()
    first = r[:100]
    x = torch.cat([first, t]).numpy().reshape(-1, 1)
    y = np.concatenate([np.ones(len(first)), np.zeros(100)])
    machine = SVC(C=3, kernel="rbf", gamma="auto", random_state=1).fit(x, y)
    wanted = 100 * (1 - machine.predict(f.numpy().reshape(-1, 1)).mean())
    assert svc_mia(r, t, f) == pytest.approx(wanted, abs=1e-12)
    assert 0 < wanted < 100


def test_the_published_one_depends_on_the_order_of_the_data():
    r, t, f = retained().sigmoid().sort().values, unseen(100).sigmoid(), unseen(80, 3).sigmoid()
    assert svc_mia(r, t, f) == svc_mia(r[:100], t, f)
    assert abs(svc_mia(r, t, f) - svc_mia(r.flip(0), t, f)) > 10


def test_the_published_one_is_blind_once_confidence_is_saturated():
    r, t = retained() + 8, unseen() + 8
    asked = (retained(seed=3) + 8, unseen(seed=4) + 8)
    assert all(svc_mia(r.sigmoid(), t.sigmoid(), f.sigmoid()) < 1 for f in asked)
    one, other = (balanced_svc_mia(r, t, f).forget.value for f in asked)
    assert other > one + 30


def test_the_balanced_one_matches_a_loop_over_halves():
    r, t, f = retained(31), unseen(50), unseen(20, 3)
    generator = torch.Generator().manual_seed(5)
    r_used, t_used = (
        x.double().numpy()[torch.randperm(len(x), generator=generator)[:31]] for x in (r, t)
    )
    halves = np.arange(31) < 15, np.arange(31) >= 15
    shares, forget = {"retain": [], "test": []}, np.zeros(20)
    for train, held in (halves, halves[::-1]):
        x = np.concatenate([r_used[train], t_used[train]]).reshape(-1, 1)
        scaler = StandardScaler().fit(x)
        scaler.scale_ *= math.sqrt(len(x) / (len(x) - 1))  # unbiased
        y = np.repeat([1, 0], train.sum())
        machine = SVC(C=3, gamma="auto", random_state=1).fit(scaler.transform(x), y)

        def outside(values, x=x, scaler=scaler, machine=machine):
            inside = np.clip(values, x.min(), x.max()).reshape(-1, 1)
            return 1 - machine.predict(scaler.transform(inside))

        shares["retain"] += outside(r_used[held]).tolist()
        shares["test"] += outside(t_used[held]).tolist()
        forget += outside(f.double().numpy()) / 2
    found = balanced_svc_mia(r, t, f, seed=5)
    assert found.rows == 31
    assert found.retain.value == pytest.approx(100 * np.mean(shares["retain"]))
    assert found.test.value == pytest.approx(100 * np.mean(shares["test"]))
    assert found.forget.value == pytest.approx(100 * forget.mean())
    assert found.forget.se == pytest.approx(100 * forget.std() / math.sqrt(20))
    assert found.test.se == pytest.approx(100 * np.std(shares["test"]) / math.sqrt(31))


def test_rows_never_seen_have_a_gap_of_zero():
    # judged by the same machines: expected to be exactly 0. Ten draws, 5 standard errors each:
    # false alarm 6e-6; a gap of 6 points (the error is about 3.3, of the mean 1) is found
    gaps = [
        balanced_svc_mia(retained(seed=i), unseen(seed=100 + i), unseen(seed=200 + i), seed=i).gap
        for i in range(10)
    ]
    assert all(abs(gap.value) <= 5 * gap.se for gap in gaps)
    assert abs(np.mean([gap.value for gap in gaps])) <= 5 * np.mean([g.se for g in gaps]) / 10**0.5


def test_remembered_rows_fall_below_and_over_forgotten_ones_above():
    r, t = retained(), unseen()
    remembered = balanced_svc_mia(r, t, retained(seed=3)).gap
    assert remembered.value < -5 * remembered.se < 0
    over = balanced_svc_mia(r, t, draw(200, -2.0, 0.5, 4)).gap
    assert over.value > 5 * over.se > 0


@pytest.mark.parametrize("far", [20.0, 1e3, 1e30])
def test_rows_beyond_all_training_rows_count_as_the_outermost(far):
    # a Gaussian kernel would answer the same on both sides
    r, t = draw(100, 2.0, 1.0, 1), draw(100, -2.0, 1.0, 2)
    assert balanced_svc_mia(r, t, torch.full((7,), -far)).forget == (100, 0)
    assert balanced_svc_mia(r, t, torch.full((7,), far)).forget == (0, 0)


def test_blind_to_the_unit_and_reproducible():
    r, t, f = retained(80).double(), unseen(90).double(), unseen(30, 3).double()
    found = balanced_svc_mia(r, t, f, seed=1)
    assert balanced_svc_mia(r, t, f, seed=1) == found
    assert balanced_svc_mia(4 * r, 4 * t, 4 * f, seed=1) == found
    others = {balanced_svc_mia(r, t, f, seed=s).retain.value for s in range(5)}
    assert len(others) > 1


def test_members_are_drawn_at_random_not_from_the_front():
    r = torch.cat([torch.full((100,), -9.0), torch.full((900,), 9.0)])
    found = balanced_svc_mia(r, torch.full((100,), -9.0), torch.full((5,), 9.0))
    assert found.forget.value == 0
    assert found.rows == 100


def test_equal_margins_everywhere_tell_nothing_but_give_no_nan():
    found = balanced_svc_mia(torch.ones(9), torch.ones(9), torch.ones(3))
    assert found.retain.value == found.test.value == found.forget.value


def test_what_cannot_be_attacked_is_refused():
    p, m = torch.full((6,), 0.5), torch.zeros(6)
    with pytest.raises(BadInput, match="test confidences range from 0.5 to 1.5"):
        svc_mia(p, torch.tensor([0.5, 1.5]), p)
    with pytest.raises(BadInput, match=r"forget rows of shape \(0,\)"):
        svc_mia(p, p, p[:0])
    with pytest.raises(BadInput, match=r"retain rows of shape \(2, 3\)"):
        svc_mia(p.view(2, 3), p, p)
    with pytest.raises(BadInput, match="at least 4"):
        balanced_svc_mia(m[:3], m, m)
    with pytest.raises(BadInput, match="1 of them not finite"):
        balanced_svc_mia(m, torch.tensor([0.0, 1, 2, math.nan]), m)
    assert balanced_svc_mia(m, m, m[:1]).rows == 6
