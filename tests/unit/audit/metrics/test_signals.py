import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from expunge.audit.evidence.margin import classification_margin
from expunge.audit.metrics.signals import confidence, entropy, loss, modified_entropy
from expunge.errors import BadInput

law = settings(max_examples=25, deadline=None, derandomize=True, database=None)
ALL = (confidence, loss, entropy, modified_entropy)


def exact(z: list[float], y: int) -> list[float]:
    """The four signals of one row by their definitions, in 400 digits."""
    with localcontext() as context:
        context.prec = 400
        e = [Decimal(v).exp() for v in z]
        p = [v / sum(e) for v in e]
        h = -sum(v * v.ln() for v in p)
        modified = -(1 - p[y]) * p[y].ln()
        modified -= sum(v * (1 - v).ln() for c, v in enumerate(p) if c != y)
        return [float(p[y]), float(-p[y].ln()), float(h), float(modified)]


def ours(z: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    return [confidence(z, y), loss(z, y), entropy(z), modified_entropy(z, y)]


@pytest.mark.parametrize("spread", [1.0, 20.0, 200.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_all_match_their_definitions_in_many_digits(classes, spread):
    z = spread * torch.randn(2, 6, classes, generator=torch.Generator().manual_seed(1)).double()
    y = torch.arange(6) % classes
    wanted = np.array([[exact(z[m, r].tolist(), int(y[r])) for r in range(6)] for m in range(2)])
    for i, values in enumerate(ours(z, y)):
        assert values.shape == (2, 6)
        assert values.dtype == torch.float64
        # exp turns the rounding of logits of size 500, 1e-13, into as much of relative error
        np.testing.assert_allclose(values, wanted[..., i], rtol=1e-11)


def test_sure_and_right_sure_and_wrong_by_hand():
    z = torch.tensor([[[1000.0, 0, 0]] * 2])
    p, nll, h, modified = (x[0].tolist() for x in ours(z, torch.tensor([0, 1])))
    assert p == [1, 0]
    assert nll == [0, 1000]
    assert h == [0, 0]
    # wrong: -log p_1 = 1000, and -log(1 - p_0) = 1000 - log 2
    assert modified == [0, pytest.approx(2000 - math.log(2))]


def test_entropy_does_not_know_the_truth_and_modified_entropy_does():
    z = torch.tensor([[[6.0, 0, 0]] * 2])
    assert entropy(z)[0, 0] == entropy(z)[0, 1]
    right, wrong = modified_entropy(z, torch.tensor([0, 2]))[0].tolist()
    assert right < 0.01 < 5 < wrong


def test_rows_whose_probability_rounds_to_one_keep_their_order():
    tops = torch.tensor([20.0, 40.0, 60.0, 80.0])
    z = torch.stack([tops, torch.zeros(4)], -1).unsqueeze(0)
    y = torch.zeros(4, dtype=torch.long)
    assert (z.softmax(-1)[..., 0] == 1).all()
    for signal in (loss, entropy, modified_entropy):
        values = signal(z) if signal is entropy else signal(z, y)
        assert (values[0].diff() < 0).all(), signal.__name__
        assert (values > 0).all()


logits = arrays(np.float64, (2, 3, 4), elements=st.floats(-1e4, 1e4, allow_subnormal=False))
classes = arrays(np.int64, 3, elements=st.integers(0, 3))


@law
@given(logits, classes, st.permutations(range(4)))
def test_always_finite_never_negative_and_blind_to_the_numbering(z, y, order):
    z, y = torch.from_numpy(z), torch.from_numpy(y)
    renamed = torch.tensor(order).argsort()[y]
    for a, b, c in zip(ours(z, y), ours(z[..., order], renamed), ours(z + 64, y), strict=True):
        assert a.isfinite().all()
        assert (a >= -1e-15).all()
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(a, c, rtol=1e-9, atol=1e-9)
    assert (entropy(z) <= math.log(4) + 1e-12).all()


def test_they_are_what_the_margin_says():
    z, y = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(2)), torch.arange(9) % 4
    m = classification_margin(z.double(), y)
    torch.testing.assert_close(confidence(z, y), m.sigmoid())
    torch.testing.assert_close(loss(z, y), (1 + (-m).exp()).log())
    torch.testing.assert_close(confidence(z, y), (-loss(z, y)).exp())


def test_no_rows_give_no_values():
    nobody = torch.zeros(0, dtype=torch.long)
    assert [tuple(x.shape) for x in ours(torch.zeros(3, 0, 2), nobody)] == [(3, 0)] * 4


def test_what_does_not_fit_is_refused():
    z, y = torch.zeros(2, 3, 4), torch.zeros(3, dtype=torch.long)
    for bad in (z[0], z[..., :1], z[:0]):
        with pytest.raises(BadInput, match="two classes"):
            entropy(bad)
    spoilt = z.clone()
    spoilt[1, 2, 0], spoilt[0, 0, 0] = math.nan, math.inf
    with pytest.raises(BadInput, match="2 outputs are NaN or infinite"):
        modified_entropy(spoilt, y)
    with pytest.raises(BadInput, match=r"of shape \(4,\)"):
        loss(z, torch.zeros(4, dtype=torch.long))
    with pytest.raises(BadInput, match="targets are torch.float32"):
        confidence(z, torch.zeros(3))
    with pytest.raises(BadInput, match="range from 0 to 4"):
        confidence(z, torch.tensor([0, 1, 4]))
