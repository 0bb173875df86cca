import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from torch.nn.functional import kl_div

from expunge.audit.metrics.zrf import js, zrf
from expunge.errors import BadInput

law = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("randoms", [1, 3])
def test_matches_scipy_in_base_2(randoms):
    z, w = 3 * draw(3, 7, 5, seed=1), draw(randoms, 7, 5, seed=2)
    p, q = z.softmax(-1).numpy(), w.expand(3, 7, 5).softmax(-1).numpy()
    wanted = [[jensenshannon(p[m, r], q[m, r], base=2) ** 2 for r in range(7)] for m in range(3)]
    np.testing.assert_allclose(js(z, w), wanted, rtol=1e-10)
    np.testing.assert_allclose(zrf(z, w), 1 - np.mean(wanted, axis=1), rtol=1e-10)
    assert zrf(z, w).dtype == torch.float64


def test_by_hand():
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4)
    wanted = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2
    z, w = torch.tensor([[[2000.0, 0.0]]]), torch.zeros(1, 1, 2)
    assert js(z, w).item() == pytest.approx(wanted, rel=1e-12)


def test_the_same_answers_score_one_and_opposite_ones_nothing():
    z = draw(2, 4, 3)
    assert zrf(z, z).tolist() == [1, 1]
    assert zrf(z + 5, z).tolist() == pytest.approx([1, 1])
    one, other = torch.tensor([[[1e4, 0.0]]]), torch.tensor([[[0.0, 1e4]]])
    assert zrf(one, other).item() == 0
    assert zrf(one, one).item() == 1


logits = arrays(np.float64, (2, 3, 4), elements=st.floats(-1e4, 1e4, allow_subnormal=False))


@law
@given(logits, logits, st.permutations(range(4)))
def test_between_0_and_1_and_symmetric(z, w, order):
    z, w = torch.from_numpy(z), torch.from_numpy(w)
    value = js(z, w)
    assert ((value >= 0) & (value <= 1)).all()
    torch.testing.assert_close(js(w, z), value)
    torch.testing.assert_close(js(z[..., order], w[..., order]), value)
    assert zrf(z, w, convention="paper").isfinite().all()


def test_the_paper_convention_is_the_public_rule():
    z, w = draw(2, 6, 5, seed=1), draw(1, 6, 5, seed=2)
    wanted = []
    for one in z:
        p, q = one.softmax(-1), w[0].softmax(-1)
        m = (p + q) / 2
        halves = [kl_div(x.log(), m, reduction="none").mean() for x in (p, q)]
        wanted.append(1 - sum(halves).item() / 2)
    np.testing.assert_allclose(zrf(z, w, convention="paper"), wanted, rtol=1e-12)
    # turned around it has no bound: m = (3/4, 1/4), and log p_1 = -1,000
    far = zrf(torch.tensor([[[1e3, 0.0]]]), torch.zeros(1, 1, 2), convention="paper")
    half = math.log(2) / 2
    nats = 0.75 * (math.log(0.75) + half) + 0.25 * (math.log(0.25) + 500 + half)
    assert far.item() == pytest.approx(1 - nats / 2)


def test_what_cannot_be_compared_is_refused():
    z = torch.zeros(2, 3, 4)
    for bad in (z[0], z[:, :2], torch.zeros(3, 3, 4)):
        with pytest.raises(BadInput, match="outputs of shapes"):
            js(z, bad)
    with pytest.raises(BadInput, match=r"\(1, 3, 1\)"):
        js(z[:1, :, :1], z[:1, :, :1])
    with pytest.raises(BadInput, match="no rows"):
        zrf(z[:, :0], z[:, :0])
    with pytest.raises(BadInput, match="1 random outputs are NaN"):
        js(z, torch.where(torch.arange(24).view(2, 3, 4) == 5, math.nan, z))
    with pytest.raises(BadInput, match="convention 'published'"):
        zrf(z, z, convention="published")
