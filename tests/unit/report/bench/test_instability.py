import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from expunge.errors import BadInput
from expunge.report.bench.instability import instability

from .grids import METHODS, SHARES, SPREADS, texts, undrawn

FEW = [("salun", 50.0, 4.0, 0.5), ("salun", 10.0, 1.0, 0.25), ("dmm", 10.0, 0.6, None)]


@pytest.fixture(scope="module")
def drawn():
    return instability(SHARES, SPREADS, "CIFAR-10")


@pytest.fixture(scope="module")
def panels():
    return undrawn(instability, FEW, SPREADS, "t").axes


def test_every_method_and_every_box_is_named(drawn):
    found = texts(drawn)
    assert {"By forgetting share", "By strength", "influence", "influence + mask"} <= set(found)
    assert all(found.count(method) == 1 for method in METHODS[1:] if method != "influence")
    assert found.count("forgotten rows, % of the training set") == 2
    label = ElementTree.fromstring(drawn).attrib["aria-label"]
    assert "influence + mask at 50 %: median 6.25 over 3 strengths, 5.00 to 10.00" in label


def test_it_is_deterministic(drawn):
    assert instability(SHARES, SPREADS, "CIFAR-10") == drawn


def test_lines_run_by_share_with_bars_of_one_sd(panels):
    curves = [one for one in panels[0].lines if one.get_clip_on()]
    np.testing.assert_allclose(curves[0].get_ydata(), [1.0, 4.0])
    assert [one.get_marker() for one in curves] == ["o", "s"]
    bars = [path.vertices[:, 1] for path in panels[0].collections[0].get_paths()]
    np.testing.assert_allclose(bars, [[0.75, 1.25], [3.5, 4.5]])


def test_each_share_has_two_boxes_and_all_points(panels):
    dots = [one for one in panels[1].lines if one.get_marker() == "o"]
    assert len(dots) == 4
    np.testing.assert_allclose([one.get_ydata() for one in dots], [v for *_, v in SPREADS])
    places = [float(np.mean(one.get_xdata())) for one in dots]
    np.testing.assert_allclose(places, [-0.175, 0.825, 0.175, 1.175])
    medians = [one for one in panels[1].lines if one.get_linewidth() == 2.0]
    np.testing.assert_allclose([one.get_ydata()[0] for one in medians], [1.25, 6.25, 1.25, 6.25])


def test_one_diverged_run_makes_the_axis_logarithmic(panels):
    assert panels[0].get_yscale() == panels[1].get_yscale() == "linear"
    wide = undrawn(instability, [*FEW, ("fisher", 10.0, 60.0, 1.0)], [], "t").axes
    assert wide[0].get_yscale() == "log"
    assert "not measured" in [text.get_text() for text in wide[1].texts]


def test_panels_can_stand_above_each_other():
    high, low = undrawn(instability, FEW, SPREADS, "t", columns=1).axes
    assert high.get_position().y0 > low.get_position().y1


def test_one_name_with_equal_shares_is_refused():
    with pytest.raises(BadInput, match="salun at 50 % twice.*average over seeds first"):
        instability([FEW[0], FEW[0]], [], "t")
