import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from expunge.errors import BadInput
from expunge.report.bench.stopping import AFTER, MOST_ROWS, OVER, Run, draw_stopping, stopping

from .grids import runs, texts

BAND = (-2.9, -0.5)


@pytest.fixture(scope="module")
def drawn():
    return stopping(runs(), BAND, "CIFAR-10")


@pytest.fixture(scope="module")
def panels():
    return draw_stopping(runs(), BAND).axes


def medians(axes, colour):
    return [x for x in axes.lines if x.get_color() == colour and x.get_linewidth() == 2.0]


def test_every_method_has_a_panel_that_counts_its_rows(drawn):
    found = texts(drawn)
    assert {"scrub", "4 of 12 rows overshoot"} <= set(found)
    assert {"oracle-matching", "0 of 12 rows overshoot"} <= set(found)
    assert {"rows", "rows that overshoot", "thick: median", "retrained models"} <= set(found)
    label = ElementTree.fromstring(drawn).attrib["aria-label"]
    assert "scrub: median " in label
    assert "nine in ten of these score -2.90 to -0.50" in label


def test_it_is_deterministic(drawn):
    assert stopping(runs(), BAND, "CIFAR-10") == drawn


def test_rows_that_overshoot_are_red_and_medians_are_thick(panels):
    run = runs()["scrub"]
    for colour, chosen in ((OVER, run.overshoots), (AFTER, ~run.overshoots)):
        (thick,) = medians(panels[0], colour)
        np.testing.assert_allclose(thick.get_ydata(), np.median(run.loglik[:, chosen], axis=1))
        np.testing.assert_array_equal(thick.get_xdata(), run.steps)
    assert medians(panels[1], OVER) == []


def test_panels_share_their_height_and_the_band(panels):
    assert panels[0].get_ylim() == panels[1].get_ylim()
    for axes in panels:
        box = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        np.testing.assert_allclose([box.y0, box.y1], BAND)


def test_far_rows_compress_the_axis(panels):
    assert panels[0].get_yscale() == "linear"  # the lowest is at -54 nats
    deep = {name: replace(run, loglik=10 * run.loglik) for name, run in runs().items()}
    axes = draw_stopping(deep, BAND).axes[0]
    assert axes.get_yscale() == "symlog"
    assert "−100" in [axes.yaxis.get_major_formatter()(y) for y in axes.get_yticks()]


def test_thousands_of_rows_and_steps_make_a_small_figure():
    rng = np.random.default_rng(0)
    many = Run(np.arange(2000), -rng.random((2000, 3000)), np.arange(3000) < 10)
    figure = draw_stopping({"scrub": many}, BAND)
    thin = [x for x in figure.axes[0].lines if x.get_linewidth() == 0.5]
    assert [np.isnan(x.get_ydata()).sum() for x in thin] == [MOST_ROWS, 10]
    assert max(len(x.get_ydata()) for x in thin) <= 101 * MOST_ROWS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": np.arange(29)}, r"scrub: .* of shapes \(\(29,\), \(30, 12\), \(12,\)\)"),
        ({"loglik": np.zeros((30, 4, 12))}, "average over members first"),
        ({"overshoots": np.zeros(12)}, r"the last of float64.*\(rows,\) bool"),
        ({"loglik": np.full((30, 12), np.nan)}, r"\(T, rows\) finite"),
        ({"steps": np.arange(30)[::-1]}, r"\(T,\) rising"),
    ],
)
def test_bad_runs_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        stopping({"scrub": replace(runs()["scrub"], **change)}, BAND, "t")


@pytest.mark.parametrize(("given", "band"), [({}, BAND), (runs(), (0.0, -1.0))])
def test_no_run_or_no_band_is_refused(given, band):
    with pytest.raises(BadInput, match=f"{len(given)} runs and the band"):
        stopping(given, band, "t")
