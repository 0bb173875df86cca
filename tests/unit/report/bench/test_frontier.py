import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from expunge.report.bench.frontier import Point, frontier

from .grids import METHODS, NOISE, ORIGINAL, SVG, texts, trials, undrawn, with_mean

GIVEN = {"original": ORIGINAL, "attributed": ("dm-direct", "dmm")}
NOTHING = {"original": {}, "attributed": ()}
ONE = [
    Point("dmm", 0.04, with_mean(3.0, 1.0, 1.0)),
    Point("dmm", 0.01, with_mean(5.0, 0.9, 1.0)),
    Point("dmm", 0.16, with_mean(4.0, 2.0, 0.9)),
]


def solid(axes):
    """The fronts: solid lines within the panel that are not vertical."""
    lines = [one for one in axes.lines if one.get_clip_on() and one.get_linestyle() == "-"]
    return [one.get_xydata() for one in lines if len(set(one.get_xdata())) > 1]


@pytest.fixture(scope="module")
def drawn():
    return frontier(trials(), NOISE, 100, "CIFAR-10", **GIVEN)


@pytest.fixture(scope="module")
def figure():
    return undrawn(frontier, trials(), NOISE, 100, "t", **GIVEN)


def test_four_panels_name_every_method(drawn):
    found = texts(drawn)
    assert {"Forget", "Retain", "Test", "Mean of three"} <= set(found)
    for method in METHODS:
        dagger = " †" if method in GIVEN["attributed"] else ""
        assert found.count(method + dagger) == 4
    assert found.count("† needs an attribution or teachers, whose cost is not on the axis") == 1


def test_references_and_the_noise_floor_are_marked(drawn):
    found = texts(drawn)
    for floor in ("0.66", "0.64", "0.65"):
        assert f"noise floor {floor} (100 models)" in found
    assert found.count("do nothing") == 4
    assert found.count("one retraining") == 4
    assert found.count("≈ 0") == 4
    assert {"9.81", "0.67", "3.72"} <= set(found)  # the last is the mean of the three


def test_it_is_one_element_that_fetches_nothing(drawn):
    root = ElementTree.fromstring(drawn)
    assert root.tag == f"{SVG}svg"
    assert "dmm: lowest mean" in root.attrib["aria-label"]
    assert root.attrib["aria-label"].startswith("CIFAR-10. ")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", drawn)


def test_equal_trials_give_equal_bytes_whatever_the_settings(drawn):
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "path"}):
        assert frontier(trials(), NOISE, 100, "CIFAR-10", **GIVEN) == drawn


def test_names_neither_cover_each_other_nor_leave_the_figure(figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    edge = figure.get_window_extent()
    for axes in figure.axes:
        names = [text for text in axes.texts if text.get_text().split(" †")[0] in METHODS]
        boxes = [text.get_window_extent(renderer) for text in names]
        assert len(boxes) == 19
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(box.x1 <= edge.x1 and box.y0 >= edge.y0 for box in boxes)
        others = [other.get_window_extent() for other in figure.axes if other is not axes]
        assert not any(box.overlaps(other) for box in boxes for other in others)


def test_a_front_is_the_best_so_far_by_cost():
    forget, retain, test, mean = undrawn(frontier, ONE, NOISE, 100, "t", **NOTHING).axes
    np.testing.assert_allclose(solid(forget), [[[0.01, 5], [0.04, 3], [0.16, 3]]])
    np.testing.assert_allclose(solid(retain), [[[0.01, 0.9], [0.04, 0.9], [0.16, 0.9]]])
    np.testing.assert_allclose(solid(test)[0][:, 1], [1.0, 1.0, 0.9])
    np.testing.assert_allclose(solid(mean)[0][:, 1], np.array([6.9, 5.0, 5.0]) / 3)


def test_every_trial_is_a_faint_mark():
    forget = undrawn(frontier, ONE, {}, 100, "t", **NOTHING).axes[0]
    faint = [one for one in forget.lines if one.get_alpha() == 0.3]
    np.testing.assert_allclose(faint[0].get_xydata(), [[0.01, 5], [0.04, 3], [0.16, 4]])


def test_bars_are_two_standard_errors():
    point = Point("dmm", 0.1, {"forget": 3.0}, {"forget": 0.25})
    forget = undrawn(frontier, [point], {}, 100, "t", **NOTHING).axes[0]
    bars = [one.get_ydata() for one in forget.lines if list(one.get_xdata()) == [0.1, 0.1]]
    np.testing.assert_allclose(bars, [[2.5, 3.5]])


def test_the_reference_is_black_and_others_keep_their_looks():
    points = [*ONE, Point("retrain", 1.0, {"forget": 0.8})]
    forget = undrawn(frontier, points, {}, 100, "t", **NOTHING).axes[0]
    stars = [one for one in forget.lines if one.get_marker() == "*"]
    assert {one.get_color() for one in stars} == {"#1d1d1f"}
    first = next(one for one in forget.lines if one.get_marker() == "o")
    assert first.get_color() == "#0072b2"


def test_a_group_without_values_is_not_measured():
    found = texts(frontier([Point("dmm", 0.1, {"forget": 3.0})], {}, 100, "t", **NOTHING))
    assert found.count("not measured") == 3
    assert found.count("dmm") == 1
    assert not any("noise floor" in text for text in found)
