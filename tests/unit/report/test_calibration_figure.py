import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import torch

from expunge.audit.metrics.calibration import calibration as calibrate
from expunge.report.figure.calibration import MOST, _drawn, calibration

SVG = "{http://www.w3.org/2000/svg}"
ROWS = {"forget": 40, "retain": 900, "test": 300}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def made(rows=ROWS, factor=1.0):
    """Changes and calibrations of groups; predictions are too large by a factor."""
    changes, found = {}, {}
    for seed, (group, count) in enumerate(rows.items()):
        t = draw(count, seed=seed)
        p = factor * (t + 0.3 * draw(count, seed=seed + 10))
        before, after = (x + draw(12, count, seed=s) for x, s in ((0, seed + 20), (t, seed + 30)))
        changes[group] = p, after.mean(0) - before.mean(0)
        found[group] = calibrate(p, before, after)
    return changes, found


def elements(svg, kind):
    return list(ElementTree.fromstring(svg).iter(f"{SVG}{kind}"))


def texts(svg):
    return ["".join(e.itertext()) for e in elements(svg, "text")]


def lines(svg, colour):
    """The ends of lines of a colour, in units of the picture: (lines, 2, 2)."""
    found = [e.attrib["d"] for e in elements(svg, "path") if f"stroke: {colour}" in style(e)]
    ends = [[float(x) for x in re.findall(r"-?[\d.]+", d)] for d in found]
    return np.array([e for e in ends if len(e) == 4 and e[0] != e[2]]).reshape(-1, 2, 2)


def style(element):
    return element.attrib.get("style", "")


def dots(svg):
    """How many dots each group has."""
    paths = [e for e in elements(svg, "path") if "stroke-linecap: round" in style(e)]
    # a place to move to shows nothing: only the line after it does, however short
    return [len(re.findall(r"M (\S+ \S+)\s+L \1", e.attrib["d"])) for e in paths]


def test_each_group_has_a_panel_with_its_numbers():
    changes, found = made()
    figure = texts(calibration(changes, found, "datamodels"))
    assert {"Forget", "Retain", "Test"} <= set(figure)
    assert figure.count("predicted change of margin, nats") == 3
    assert figure.count("true change of margin, nats") == 3
    slope, ceiling = found["forget"].slope, found["forget"].ceiling
    assert slope is not None
    assert ceiling is not None
    wanted = f"slope {slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}], 40 points"
    assert wanted in figure
    assert any(text.endswith(f", at best {ceiling.value:.2f}") for text in figure)
    error, noise = found["test"].error.value, found["test"].noise.value
    truth = found["test"].truth.value
    assert f"rms error {error:.2f}, truth {truth:.2f}, noise {noise:.2f}" in figure
    assert {"predicted = true", "slope through the origin"} <= set(figure)


def test_every_point_is_drawn_until_there_are_too_many():
    svg = calibration(*made(), "x")
    assert dots(svg) == [40, pytest.approx(MOST / 3, abs=3), 300]
    assert any(re.search(r"6\d\d of 900 points", text) for text in texts(svg))
    changes, found = made({"forget": 300})
    assert dots(calibration(changes, found, "x")) == [300]


def test_a_full_figure_is_not_heavy():
    assert len(calibration(*made({"forget": 5000, "retain": 5000, "test": 5000}), "x")) < 130_000


def test_thinning_is_blind_to_places_and_keeps_the_ends():
    # ten classes a row, in turn: every tenth place would be always the same class
    p, t = draw(500, 10, seed=1), draw(500, 10, seed=2)
    p += 0.01 * torch.arange(10)
    x, y = _drawn(p, t, 500)
    assert 495 <= len(x) <= 500
    assert (x.min(), x.max(), y.min(), y.max()) == (p.min(), p.max(), t.min(), t.max())
    position = {value: i for i, value in enumerate(p.flatten().tolist())}
    classes = np.bincount([position[value] % 10 for value in x], minlength=10)
    assert classes.min() > 25
    at = [position[value] for value in x]
    np.testing.assert_array_equal(y, t.flatten()[at])
    # in steps of the ranks: the drawn ones have the distribution of all
    assert abs(np.median(x) - float(p.median())) < 0.01


def test_lines_have_the_slopes_they_stand_for():
    changes, found = made({"forget": 60}, factor=2.0)
    svg = calibration(changes, found, "x")
    slope = found["forget"].slope
    assert slope is not None
    (drawn,) = [e for e in lines(svg, "#1d1d1f") if np.ptp(e[:, 0]) > 40]
    (diagonal,) = [e for e in lines(svg, "#9a9da1") if np.ptp(e[:, 0]) > 40 and np.ptp(e[:, 1]) > 9]

    def steepness(ends):
        return -(ends[1, 1] - ends[0, 1]) / (ends[1, 0] - ends[0, 0])  # y points down in a picture

    assert steepness(diagonal) == pytest.approx(1)
    assert steepness(drawn) == pytest.approx(slope.value, abs=1e-4)
    assert 0.3 < slope.value < 0.6


def test_predicted_is_across_and_true_is_up():
    p, t = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 4.0, 0.0])
    found = calibrate(p, torch.zeros(3, 3), torch.stack([t - 1, t, t + 1]))
    svg = calibration({"forget": (p, t)}, {"forget": found}, "x")
    (path,) = [e for e in elements(svg, "path") if "stroke-linecap: round" in style(e)]
    places = np.array([float(x) for x in re.findall(r"-?[\d.]+", path.attrib["d"])])
    x, y = places.reshape(-1, 4)[:, :2].T
    assert x[0] < x[1] < x[2]
    assert y[1] < y[0] == y[2]
    assert (y[0] - y[1]) / (x[1] - x[0]) == pytest.approx(4)  # equal axes


def test_nothing_predicted_is_drawn_without_a_slope():
    zero, t = torch.zeros(20), draw(20)
    found = calibrate(zero, draw(4, 20, seed=1), draw(4, 20, seed=2))
    svg = calibration({"forget": (zero, t)}, {"forget": found}, "x")
    assert "slope not measured, 20 points" in texts(svg)
    assert "correlation not measured" in texts(svg)
    assert not [e for e in lines(svg, "#1d1d1f") if np.ptp(e[:, 0]) > 40]
    still = calibration({"forget": (zero, zero)}, {"forget": found}, "x")
    assert "Forget" in texts(still)


def test_said_to_those_who_do_not_see_it():
    changes, found = made()
    label = ElementTree.fromstring(calibration(changes, found, "TRAK <1>")).attrib["aria-label"]
    assert label.startswith("Predicted against true change, TRAK <1>. forget: slope ")
    assert "test: slope" in label


def test_equal_input_gives_equal_bytes_whatever_the_settings():
    given = made()
    first = calibration(*given, "x")
    with mpl.rc_context({"font.size": 20, "path.simplify": True, "svg.fonttype": "path"}):
        assert calibration(*given, "x") == first
