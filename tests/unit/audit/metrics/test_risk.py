"""The privacy risk score: by hand, against plain loops, without and with a signal."""

import math

import numpy as np
import pytest
import torch

from expunge.audit.metrics.risk import SMALLEST, privacy_risk
from expunge.audit.metrics.shadow import Shadow
from expunge.audit.metrics.signals import modified_entropy
from expunge.errors import BadInput

from .shadows import shadow, signals


def one_class(values, trained, unseen, **settings) -> list[float]:
    parts = [torch.tensor([x]).double() for x in (values, trained, unseen)]
    zeros = [torch.zeros(x.shape[1]).long() for x in parts]
    known = Shadow(parts[1], zeros[1], parts[2], zeros[2])
    return privacy_risk(parts[0], zeros[0], known, **settings)[0].tolist()


def test_by_hand_with_equal_bins():
    # bins [0, 1), [1, 2), [2, 3), [3, 4]: trained 2, 1, 0, 1 of 4; unseen 1, 0, 0, 1 of 2
    trained, unseen = [0.0, 0.5, 1.5, 4.0], [0.9, 3.0]
    found = one_class(
        [0.2, 1.0, 2.5, 3.9, 4.0, 99.0, -7.0], trained, unseen, bins=4, scale="linear"
    )
    assert found == pytest.approx([1 / 2, 1, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 1 / 2])


def test_an_empty_bin_says_nothing_and_an_end_bin_all_beyond_it():
    trained, unseen = [0.0, 0.1], [10.0]
    assert one_class([-1.0, 5.0, 20.0], trained, unseen, bins=10, scale="linear") == [1, 0.5, 0]


def test_by_hand_in_logarithms():
    # from SMALLEST = 1e-10 to 1 five bins of two decades each
    trained, unseen = [0.0, 1e-11, 3e-7, 0.5], [1e-3, 1.0]
    found = one_class([0.0, SMALLEST, 1e-7, 1e-5, 1e-3, 0.2, 7.0], trained, unseen)
    assert found == pytest.approx([1, 1, 1, 0.5, 0, 1 / 3, 1 / 3])


def test_values_that_are_all_equal_say_nothing():
    assert one_class([1.0, 0.5, 2.0], [1.0, 1.0], [1.0]) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("bins", [1, 5, 10])
def test_it_is_what_numpy_s_histograms_give(bins, scale):
    known = shadow(3, 60, shift=1.0)
    values, targets = signals(3, 30, seed=7)
    found = privacy_risk(values, targets, known, bins=bins, scale=scale)
    change = np.log if scale == "log" else np.asarray
    for m in range(3):
        for row, y in enumerate(targets.tolist()):
            trained, unseen = (
                change(x[m, t == y].numpy())
                for x, t in (
                    (known.trained, known.trained_targets),
                    (known.unseen, known.unseen_targets),
                )
            )
            both = np.concatenate([trained, unseen])
            p, edges = np.histogram(trained, bins, (both.min(), both.max()))
            q, _ = np.histogram(unseen, bins, (both.min(), both.max()))
            place = np.searchsorted(edges, change(values[m, row].item()), side="right") - 1
            place = min(max(place, 0), bins - 1)
            p, q = p[place] / len(trained), q[place] / len(unseen)
            wanted = 0.5 if p + q == 0 else p / (p + q)
            assert float(found[m, row]) == pytest.approx(wanted)


@pytest.mark.parametrize(("bins", "scale"), [(5, "log"), (10, "linear")])
def test_without_a_signal_it_is_one_half_in_the_mean(bins, scale):
    """By symmetry: the two kinds of the shadow's rows are as many, and of one distribution."""
    known, (values, targets) = shadow(400, 60), signals(400, 60, seed=9)
    means = privacy_risk(values, targets, known, bins=bins, scale=scale).mean(1)
    assert abs(float(means.mean()) - 0.5) < 5 * float(means.std()) / 20
    assert float(means.std()) > 0.01


def test_groups_of_other_sizes_make_it_other_than_one_half():
    """Why it is read beside its null: a bin without one of few unseen rows looks like trained."""
    few = signals(400, 6, seed=1)
    known = Shadow(*signals(400, 600, seed=0), *few)
    means = privacy_risk(*signals(400, 60, seed=9), known).mean(1)
    assert float(means.mean()) > 0.6


def test_a_planted_shift_is_found_in_its_direction():
    known = shadow(50, 300, shift=1.0)
    like = {}
    for name, shift in (("trained", -1.0), ("unseen", 0.0)):
        values, targets = signals(50, 300, seed=5, shift=shift)
        like[name] = float(privacy_risk(values, targets, known).mean())
    assert like["trained"] > 0.55
    assert like["unseen"] < 0.45
    x = np.linspace(-9, 9, 20001)  # with bins of no width: the mean of p / (p + q) over p
    p, q = np.exp(-((x + 1) ** 2) / 2), np.exp(-(x**2) / 2)
    assert like["trained"] < np.sum(p * p / (p + q)) / np.sum(p) + 0.01


def test_classes_are_judged_by_themselves_and_may_be_numbered_otherwise():
    known, (values, targets) = shadow(3, 60, shift=1.0), signals(3, 30, seed=7)
    found = privacy_risk(values, targets, known)
    names = torch.tensor([5, 0, 3])
    renamed = Shadow(
        known.trained,
        names[known.trained_targets],
        known.unseen,
        names[known.unseen_targets],
    )
    assert torch.equal(privacy_risk(values, names[targets], renamed), found)
    first = targets == 0
    alone = Shadow(
        known.trained[:, known.trained_targets == 0],
        torch.zeros(20).long(),
        known.unseen[:, known.unseen_targets == 0],
        torch.zeros(20).long(),
    )
    assert torch.equal(privacy_risk(values[:, first], targets[first], alone), found[:, first])


def test_neither_the_order_of_rows_nor_the_unit_matters():
    known, (values, targets) = shadow(3, 60, shift=1.0), signals(3, 30, seed=7)
    found = privacy_risk(values, targets, known)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    turned = Shadow(
        known.trained[:, order],
        known.trained_targets[order],
        known.unseen[:, order],
        known.unseen_targets[order],
    )
    assert torch.equal(privacy_risk(values, targets, turned), found)
    for scale, change in (("log", lambda x: 3 * x**2), ("linear", lambda x: 3 * x + 2)):
        before = privacy_risk(values, targets, known, scale=scale)
        other = Shadow(
            change(known.trained), known.trained_targets, change(known.unseen), known.unseen_targets
        )
        after = privacy_risk(change(values), targets, other, scale=scale)
        torch.testing.assert_close(after, before)


def test_a_constant_added_to_all_logits_of_a_row_changes_nothing():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(2, 60, 3, generator=g).double()
    shifted = z + 8 * torch.randn(2, 60, 1, generator=g)
    y = torch.arange(60) % 3
    results = []
    for logits in (z, shifted):
        signal = modified_entropy(logits, y)
        known = Shadow(signal[:, :20], y[:20], signal[:, 20:40], y[20:40])
        results.append(privacy_risk(signal[:, 40:], y[40:], known))
    torch.testing.assert_close(results[1], results[0])


def test_each_model_has_its_own_shadow():
    known, (values, targets) = shadow(2, 60, shift=1.0), signals(2, 30, seed=7)
    found = privacy_risk(values, targets, known)
    for m in (0, 1):
        one = Shadow(
            known.trained[m : m + 1],
            known.trained_targets,
            known.unseen[m : m + 1],
            known.unseen_targets,
        )
        assert torch.equal(privacy_risk(values[m : m + 1], targets, one)[0], found[m])


def test_what_is_refused():
    known, (values, targets) = shadow(2, 60), signals(2, 30, seed=7)
    with pytest.raises(BadInput, match="0 bins on the scale 'log'"):
        privacy_risk(values, targets, known, bins=0)
    with pytest.raises(BadInput, match=r"5 bins on the scale 'lin' \(did you mean 'linear'"):
        privacy_risk(values, targets, known, scale="lin")
    with pytest.raises(BadInput, match="a signal of -1 on the logarithmic scale.*scale=.linear"):
        privacy_risk(-values / values.max(), targets, known)
    assert privacy_risk(values - values - 1e-15, targets, known).isfinite().all()
    with pytest.raises(BadInput, match="signals are NaN"):
        privacy_risk(values * math.nan, targets, known)
