"""How the gap to retraining changes with the forgetting share, and with the strength of an edit.

After the figure of instability in the authors' talk on SalUn (Fan et al. 2024, arXiv 2310.12508):
the gap of each method against the share of forgotten rows, and the spread of influence unlearning
over its strength alpha, with and without a saliency mask. Differs: every strength is a point.
"""

from collections.abc import Sequence
from itertools import cycle
from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from expunge.errors import BadInput
from expunge.report.bench.ends import LINE, End, marker_size, name_ends, room
from expunge.report.figure.canvas import (
    AFTER,
    BEFORE,
    COLOURS,
    MARKERS,
    MUTED,
    look,
    panel_title,
    shorten,
    svg,
)
from expunge.report.words import NOT_MEASURED, number

Share = tuple[
    str, float, float, float | None
]  # method, forgetting share in %, gap, its standard error
Spread = tuple[str, float, Sequence[float]]  # label, forgetting share in %, one gap a strength

PANEL = 2.9, 2.3  # inches, at least; it grows with the list of methods
LEFT, TOP, BOTTOM = 0.55, 0.55, 0.52  # inches around a panel
SPAN = 30  # largest over smallest gap from which the axis is logarithmic: one diverged run
BOXES = (BEFORE, AFTER, *COLOURS[2:])  # colours of the labels in their order
CAPTION = (
    "Average gap to retrain; low is better. First over the share of forgotten rows; the number at "
    "the end of a line is that at its largest share. Then over the strength alpha; a box holds the "
    "middle half of the strengths, its thick line is the median, and what has short boxes needs "
    "little tuning."
)


def instability(
    shares: Sequence[Share], spreads: Sequence[Spread], title: str, *, columns: int = 2
) -> str:
    """Gaps to retraining as SVG: by forgetting share, and by strength with and without a mask.

    Args:
        shares: (method, forgetting share in %, mean, se) of the average gap in percentage points
            over seeds; se, its standard error, is None with one seed.
        spreads: (label, forgetting share in %, values): average gaps in percentage points, one a
            strength alpha; each label has a box at each share.
        title: what was run; said to those who do not see the figure.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        One `<svg>` element; equal input gives equal bytes.

    Raises:
        BadInput: nothing to draw, twice the same share of a name, a spread without values, or a
            number below 0 or not finite.
    """
    name = f"instability-{columns}"
    with look(name):
        figure = draw_instability(shares, spreads, columns=columns)
        return svg(figure, name, _label(title, shares, spreads))


def draw_instability(
    shares: Sequence[Share], spreads: Sequence[Spread], *, columns: int = 2
) -> Figure:
    """The figure of `instability`, for a file of another kind; arguments and errors as there."""
    _check(shares, spreads)
    methods = list(dict.fromkeys(method for method, *_ in shares))
    tall = max(PANEL[1], LINE * (len(methods) + 1))
    first = LEFT + PANEL[0] + (room([shorten(m) for m in methods], numbers=True) if methods else 0)
    second = LEFT + PANEL[0] + 0.1
    cell = TOP + tall + BOTTOM
    if columns > 1:
        size, corners = (first + second, cell + 0.2), [(0.0, 0.0), (first, 0.0)]
    else:
        size, corners = (max(first, second), 2 * cell + 0.2), [(0.0, 0.0), (0.0, cell)]
    with look(f"instability-{columns}"):
        figure = Figure(figsize=size)
        lines, boxes = (
            figure.add_axes(
                (
                    (left + LEFT) / size[0],
                    1 - (top + TOP + tall) / size[1],
                    PANEL[0] / size[0],
                    tall / size[1],
                )
            )
            for left, top in corners
        )
        _lines(lines, shares, methods)
        panel_title(lines, "By forgetting share", "with standard errors")
        _boxes(boxes, spreads)
        panel_title(boxes, "By strength", "each point is one strength alpha")
        return figure


def _lines(axes: Axes, shares: Sequence[Share], methods: Sequence[str]) -> None:
    """One line a method, named where it ends."""
    places = _ground(
        axes,
        [share for _, share, *_ in shares],
        [mean for *_, mean, _ in shares] + [mean + (se or 0) for *_, mean, se in shares],
    )
    ends = []
    styles = zip(methods, cycle(COLOURS), cycle(MARKERS[:-1]), strict=False)
    for index, (method, colour, marker) in enumerate(styles):
        found = sorted((places[s], mean, se or 0.0) for m, s, mean, se in shares if m == method)
        # Aside by less than a mark, or the bars of methods that are equally good would coincide.
        x = np.array([place for place, _, _ in found]) + 0.012 * (index - (len(methods) - 1) / 2)
        y, se = np.array([mean for _, mean, _ in found]), np.array([se for *_, se in found])
        axes.vlines(x, y - se, y + se, color=colour, linewidth=0.8, zorder=2.5)
        style = {"markersize": marker_size(marker), "markeredgewidth": 0, "linewidth": 1.1}
        axes.plot(x, y, color=colour, marker=marker, zorder=3, **style)
        last = float(x[-1]), float(y[-1])
        ends.append(End(shorten(method), number(last[1]), *last, colour, marker))
    name_ends(axes, ends)


def _boxes(axes: Axes, spreads: Sequence[Spread]) -> None:
    """At each share a box a label, with all its points beside one another."""
    labels = list(dict.fromkeys(label for label, *_ in spreads))
    everything = [value for *_, values in spreads for value in values]
    places = _ground(axes, [share for _, share, _ in spreads], everything)
    width = 0.7 / max(len(labels), 1)
    keys = []
    for index, (label, colour) in enumerate(zip(labels, cycle(BOXES), strict=False)):
        aside = width * (index - (len(labels) - 1) / 2)
        line = {"color": colour, "linewidth": 1.0}
        for _, share, values in (entry for entry in spreads if entry[0] == label):
            place = places[share] + aside
            axes.boxplot(
                [list(values)],
                positions=[place],
                widths=0.72 * width,
                manage_ticks=False,
                showfliers=False,  # every point is drawn anyway
                boxprops=line,
                whiskerprops=line,
                capprops=line,
                medianprops={**line, "linewidth": 2.0},
            )
            # Spread over the box in their order: no two coincide, and nothing is drawn by chance.
            x = place + 0.5 * width * (np.arange(len(values)) + 0.5) / len(values) - 0.25 * width
            dots = {"markersize": 3.2, "markeredgewidth": 0, "alpha": 0.55}
            axes.plot(x, values, "o", color=colour, zorder=3, **dots)
        keys.append(Line2D([], [], color=colour, marker="o", markersize=3.5, label=shorten(label)))
    if keys:
        axes.legend(handles=keys, loc="lower left", bbox_to_anchor=(-0.02, -0.31), ncols=len(keys))


def _ground(axes: Axes, shares: Sequence[float], gaps: Sequence[float]) -> dict[float, float]:
    """Give a panel its axes; returns where each share stands."""
    places = {share: float(i) for i, share in enumerate(sorted(set(shares)))}
    axes.set_ylabel("average gap to retrain (pp)")
    axes.set_xlabel("forgotten rows, % of the training set")
    axes.set_xticks(list(places.values()), [f"{share:g}" for share in places])
    if not gaps:
        axes.set_yticks([])
        middle = {"ha": "center", "va": "center", "color": MUTED, "transform": axes.transAxes}
        axes.text(0.5, 0.5, NOT_MEASURED, **middle)
        return places
    axes.set_xlim(-0.5, len(places) - 0.5)
    lowest, highest = min(gaps), max(gaps)
    if 0 < lowest < highest / SPAN:
        axes.set_yscale("log")
        axes.set_ylim(0.8 * lowest, 1.25 * highest)
        axes.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, 1.08 * highest or 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    return places


def _check(shares: Sequence[Share], spreads: Sequence[Spread]) -> None:
    keys = [("shares", name, share) for name, share, *_ in shares]
    keys += [("spreads", name, share) for name, share, _ in spreads]
    if not keys or len(set(keys)) < len(keys):
        twice = next((key for key in keys if keys.count(key) > 1), None)
        raise BadInput(
            f"{twice[1]} at {twice[2]:g} % twice" if twice else "neither shares nor spreads",
            expected="at least one entry, and one for each name and share",
            fix="average over seeds first, or leave the figure out",
        )
    rows = [(name, [share, mean, se or 0.0]) for name, share, mean, se in shares]
    rows += [(name, [share, *values]) for name, share, values in spreads]
    for name, values in rows:
        if len(values) < 2 or not all(isfinite(value) and value >= 0 for value in values):
            raise BadInput(
                f"{name}: {values}",
                expected="finite numbers of at least 0: a share in %, then at least one gap",
                fix="leave out what was not measured; give absolute gaps",
            )


def _label(title: str, shares: Sequence[Share], spreads: Sequence[Spread]) -> str:
    """The figure in words, for those who do not see it."""
    parts = [f"{name} at {share:g} %: {number(mean)}" for name, share, mean, _ in shares]
    parts += [
        f"{label} at {share:g} %: median {number(float(np.median(values)))} over "
        f"{len(values)} strengths, {number(min(values))} to {number(max(values))}"
        for label, share, values in spreads
    ]
    return f"{title}. Average gap to retrain in percentage points. {'; '.join(parts)}."
