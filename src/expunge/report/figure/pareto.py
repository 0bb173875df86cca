"""What a method leaves against what it costs: one panel for the average and one a group.

After Figure 1 of the Datamodel Matching paper (arXiv 2410.23232): the metric against the cost in
retrainings. Differs: error bars, the null as a band, and the limit of the verdict are drawn.
"""

from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from expunge.report import document as doc
from expunge.report.document import Document, Entry
from expunge.report.figure.canvas import FAINT, INK, MUTED, drawing, panel_title, shorten
from expunge.report.figure.cost_axis import CostAxis
from expunge.report.figure.labels import apart, beside
from expunge.report.figure.panels import panels, styles
from expunge.report.words import group_word, number, retrainings, spread, title

CELL, CORNER, PANEL = (4.0, 2.85), (0.5, 0.4), (2.6, 2.0)  # inches


@drawing
def pareto(document: Document, columns: int = 2) -> tuple[Figure, str] | None:
    """KLoM (or distance) against cost, for each group and, for KLoM, the average of the groups.

    Args:
        document: the contents of `audit.json`.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        SVG, or "" if no method has both a cost and a measured metric.
    """
    metric = doc.metric(document)
    methods = [name for name in doc.order(document) if drawable(document["methods"][name], metric)]
    if metric is None or not methods:
        return None
    axis = CostAxis.of([doc.share(document["methods"][name]) or 0.0 for name in methods])
    groups = [*(["average"] if metric == "klom" else []), *doc.GROUPS]
    keys = _keys(document, methods)
    per_row = 2 * columns
    below = 0.25 + 0.2 * ceil(len(keys) / per_row)
    figure, made = panels(len(groups), columns, CELL, CORNER, PANEL, (0.0, below))
    for axes, group in zip(made, groups, strict=True):
        axis.draw(axes)
        _panel(axes, document, metric, methods, group, axis)
    figure.legend(handles=keys, loc="lower left", ncols=per_row, fontsize=8, borderpad=0)
    return figure, _label(document, metric, methods)


def drawable(entry: Entry, metric: str | None) -> bool:
    """Whether a method has a point in the figure: not refused, with a cost and the metric."""
    measured = any(doc.reading(entry, metric, group) for group in doc.GROUPS)
    return measured and doc.share(entry) is not None and not doc.withheld(entry)


def _panel(
    axes: Axes, document: Document, metric: str, methods: list[str], group: str, axis: CostAxis
) -> None:
    points, texts, bars = [], [], []
    for name, (colour, marker) in styles(methods).items():
        entry = document["methods"][name]
        level = doc.reading(entry, metric, group)
        if level is None:
            continue
        x = axis.place(doc.share(entry) or 0.0)
        low = level.value if level.low is None else level.low
        high = level.value if level.high is None else level.high
        face = colour if doc.verdict(entry) == "supported" else "white"
        axes.plot([x, x], [low, high], color=colour, linewidth=1.1, zorder=3)
        axes.plot(x, level.value, marker, color=colour, markerfacecolor=face, ms=6, zorder=4)
        points.append((x, level.value))
        texts.append(_short(name, entry))
        bars.append((low, high))
    lines = _lines(axes, document, metric, group, [high for _, high in bars])
    beside(axes, points, texts, bars, levels=lines, uprights=[1.0])
    panel_title(axes, group_word(document, group).capitalize())
    axes.set_xlabel("cost of this request, in retrainings")


def _lines(
    axes: Axes, document: Document, metric: str, group: str, tops: list[float]
) -> list[float]:
    """Draw the null band, the limit and the original's level, named at the right edge."""
    null = doc.reading(document.get("null"), metric, group)
    original = doc.reading(document.get("original"), metric, group)
    # No verdict rests on the average, so it has no limit.
    limit = None if group == "average" else doc.limit(document, {}, metric, group)
    if null is not None and null.low is not None and null.high is not None:
        axes.axhspan(null.low, null.high, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
    named = []
    for value, word, look in (
        (null and null.value, "null", {"color": FAINT, "linewidth": 0.9}),
        (limit, "limit", {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (1, 2))}),
        (
            original and original.value,
            "original",
            {"color": INK, "linewidth": 0.7, "linestyle": (0, (5, 3))},
        ),
    ):
        if value is not None:
            axes.axhline(value, zorder=1, **look)
            named.append((value, word))
    highest = max([*tops, *(value for value, _ in named)], default=1.0)
    lowest = min((value for value, _ in named), default=0.0)
    axes.set_ylabel(title(metric))
    if metric == "distance" and 0 < lowest < highest / 30:
        axes.set_yscale("log")  # a diverged method would press all others onto the axis
        axes.set_ylim(0.5 * lowest, 1.6 * highest)
    else:
        axes.set_ylim(0, 1.1 * highest)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((1, value))[1]) for value, _ in named]
    places = apart(heights, 0.075, 0.0, 1.0)
    for height, place, (value, word) in zip(heights, places, named, strict=True):
        ends = (1, height), (1.05, place), "axes fraction", "axes fraction"
        line = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0}
        style = {"va": "center", "fontsize": 8, "color": MUTED, "arrowprops": line}
        axes.annotate(f"{word} {number(value)}", *ends, **style)
    return [value for value, _ in named]


def _keys(document: Document, methods: list[str]) -> list[Line2D]:
    keys = []
    for name, (colour, marker) in styles(methods).items():
        entry = document["methods"][name]
        face = colour if doc.verdict(entry) == "supported" else "white"
        key = Line2D([], [], color=colour, marker=marker, markerfacecolor=face, markersize=6)
        key.set(linestyle="", label=_short(name, entry))
        keys.append(key)
    return keys


def _short(name: str, entry: Entry) -> str:
    return shorten(name) + (" †" if entry.get("shared_cost") else "")


def _label(document: Document, metric: str, methods: list[str]) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for name in methods:
        entry = document["methods"][name]
        levels = [
            f"{group_word(document, group)} {spread(doc.reading(entry, metric, group))}"
            for group in doc.GROUPS
        ]
        parts.append(f"{name}: cost {retrainings(doc.share(entry))}, {', '.join(levels)}")
    return f"{title(metric)} against cost in retrainings. " + "; ".join(parts) + "."
