import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from expunge.report.bench.stopping import AFTER, MOST_ROWS, OVER, Run, stopping

from .grids import runs, texts, undrawn

BAND = (-2.9, -0.5)


@pytest.fixture(scope="module")
def drawn():
    return stopping(runs(), BAND, "CIFAR-10")


@pytest.fixture(scope="module")
def panels():
    return undrawn(stopping, runs(), BAND, "t").axes


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
    deep = {n: Run(run.steps, 10 * run.loglik, run.overshoots) for n, run in runs().items()}
    axes = undrawn(stopping, deep, BAND, "t").axes[0]
    assert axes.get_yscale() == "symlog"
    assert "−100" in [axes.yaxis.get_major_formatter()(y) for y in axes.get_yticks()]


def test_thousands_of_rows_and_steps_make_a_small_figure():
    rng = np.random.default_rng(0)
    many = Run(np.arange(2000), -rng.random((2000, 3000)), np.arange(3000) < 10)
    figure = undrawn(stopping, {"scrub": many}, BAND, "t")
    thin = [x for x in figure.axes[0].lines if x.get_linewidth() == 0.5]
    assert [np.isnan(x.get_ydata()).sum() for x in thin] == [MOST_ROWS, 10]
    assert max(len(x.get_ydata()) for x in thin) <= 101 * MOST_ROWS
