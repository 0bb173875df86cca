"""Invented benchmarks, small and large."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from expunge.report.bench.frontier import Point
from expunge.report.bench.grid import Cell, Grid, Line
from expunge.report.bench.stopping import Run
from expunge.report.figure.canvas import look

SVG = "{http://www.w3.org/2000/svg}"
METHODS = [
    *("retrain", "fine-tune", "gradient-ascent", "ascent-descent", "random-label", "uniform-label"),
    *("influence", "fisher", "l1-sparse", "ssd", "boundary-expand", "boundary-shrink"),
    *("salun", "salun-soft", "scrub", "bad-teacher", "oracle-matching", "dm-direct", "dmm"),
]
COLUMNS = ("UA", "RA", "TA", "MIA", "Avg. Gap", "RTE")
UNITS = {**dict.fromkeys(COLUMNS[:4], "%"), "RTE": "min"}
RETRAIN = {"UA": 5.24, "RA": 100.0, "TA": 94.26, "MIA": 12.88}


def texts(svg):
    """All text in a figure."""
    return ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def undrawn(figure, *given, **more):
    """The matplotlib figure of a function that returns SVG."""
    with look("test"):
        return figure.__wrapped__(*given, **more)[0]


def with_mean(forget, retain, test):
    """KLoM by group, and their mean."""
    mean = sum((forget, retain, test)) / 3
    return {"forget": forget, "retain": retain, "test": test, "average": mean}


def line(method, ua=None, gap=None, average=None, minutes=None, **more):
    """A line with what is given, measured on three seeds."""
    cells = {
        "UA": None if ua is None else Cell(ua, 0.3, 3, gap, 0.2 if gap is not None else None),
        "Avg. Gap": None if average is None else Cell(average, None, 3),
        "RTE": None if minutes is None else Cell(minutes, 0.012, 3),
    }
    return Line(method, cells, **more)


def grid(*lines, **more):
    """A table of three columns."""
    lines = lines or (line("salun", 2.85, -2.39, 1.15, 2.6612), line("dmm", 5.6, 0.36, 0.5, 0.0132))
    reference = line("retrain", 5.24, 0.0, 0.0, 43.29)
    given = {"units": {"UA": "%", "RTE": "min"}, **more}
    return Grid("Random 10% of CIFAR-10", ("UA", "Avg. Gap", "RTE"), (reference, *lines), **given)


def full_grid():
    """Nineteen methods and six columns; some were not measured."""
    rng = np.random.default_rng(0)
    lines = []
    for method in METHODS:
        cells: dict[str, Cell | None] = {}
        for column, value in RETRAIN.items():
            gap = 0.0 if method == "retrain" else float(rng.normal(0, 2))
            cells[column] = Cell(value + gap, 0.3, 3, gap, 0.2)
        cells["Avg. Gap"] = Cell(float(rng.uniform(0.4, 8)), 0.2, 3)
        cells["RTE"] = Cell(float(rng.uniform(0.1, 40)), 0.1, 3)
        lines.append(Line(method, {"RTE": cells["RTE"]} if method == "fisher" else cells))
    missing = {f"fisher/{column}": "its models returned NaN" for column in COLUMNS[:5]}
    return Grid("Random 10%", COLUMNS, tuple(lines), units=UNITS, missing=missing)


def trials(methods=METHODS, budgets=3):
    """A method's KLoM falls with its budget; dm-direct costs nothing."""
    points = []
    for i, method in enumerate(methods):
        for k in range(1 if method == "dm-direct" else budgets):
            cost = 0.0 if method == "dm-direct" else 0.01 * 3**k
            level = 9.0 / (1 + 0.3 * i * k)
            values = with_mean(level, 0.8 + 0.1 * k, 0.9)
            points.append(Point(method, cost, values, {"forget": 0.2}))
    return points


NOISE = with_mean(0.66, 0.64, 0.65)
ORIGINAL = with_mean(9.81, 0.67, 0.68)
SHARES = [(m, s, 2.0 + s / 10 + i, 0.4) for i, m in enumerate(METHODS[1:]) for s in (10.0, 50.0)]
SPREADS = [
    (label, share, [share / 10, share / 8, share / 5])
    for label in ("influence", "influence + mask")
    for share in (10.0, 50.0)
]


def runs(steps=30, rows=12):
    """SCRUB passes the oracles on every third row; matching on none."""
    rng = np.random.default_rng(1)
    time = np.arange(steps)
    over = np.arange(rows) % 3 == 0
    rising = -12 * np.exp(-time / 8)[:, None] - 1 + 0.1 * rng.normal(size=(steps, rows))
    falling = rising - np.where(over, 1, 0) * (time[:, None] / 4) ** 2
    return {
        "scrub": Run(time, falling, over),
        "oracle-matching": Run(time, rising, np.zeros(rows, dtype=bool)),
    }
