"""How the gap to retraining changes with the forgetting share, and with the strength of an edit.

After the figure of instability in the authors' talk on SalUn (Fan et al. 2024, arXiv 2310.12508):
the gap of each method against the share of forgotten rows, and the spread of influence unlearning
over its strength alpha, with and without a saliency mask. Differs: every strength is a point.
"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from expunge.errors import BadInput
from expunge.report.bench.ends import LINE, End, marker_size, name_ends, room
from expunge.report.figure.canvas import (
    AFTER,
    BEFORE,
    COLOURS,
    MARKERS,
    drawing,
    panel_title,
    shorten,
)
from expunge.report.figure.panels import mark_absent, panels, styles, ticks
from expunge.report.words import number

Share = tuple[str, float, float, float | None]
Spread = tuple[str, float, Sequence[float]]

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


@drawing
def instability(
    shares: Sequence[Share], spreads: Sequence[Spread], title: str, *, columns: int = 2
) -> tuple[Figure, str]:
    """Gaps to retraining: by forgetting share, and by strength with and without a mask.

    Args:
        shares: (method, forgetting share in %, mean, se) of the average gap in percentage points
            over seeds; se, its standard error, is None with one seed.
        spreads: (label, forgetting share in %, values): average gaps in percentage points, one a
            strength alpha; each label has a box at each share.
        title: what was run, for those who do not see the figure.
        columns: panels side by side; 1 suits a narrow window.

    Raises:
        BadInput: a name has the same share twice.
    """
    _check([(name, share) for name, share, *_ in shares])
    _check([(name, share) for name, share, _ in spreads])
    methods = list(dict.fromkeys(method for method, *_ in shares))
    tall = max(PANEL[1], LINE * (len(methods) + 1))
    first = LEFT + PANEL[0] + (room([shorten(m) for m in methods], numbers=True) if methods else 0)
    second = LEFT + PANEL[0] + 0.1
    high = TOP + tall + BOTTOM
    # Names stand at the right of the first panel alone: side by side, its cell is the wider one.
    wide, more = (first, second - first) if columns > 1 else (max(first, second), 0.0)
    figure, (lines, boxes) = panels(
        2, columns, (wide, high), (LEFT, TOP), (PANEL[0], tall), (more, 0.2)
    )
    _lines(lines, shares, methods)
    panel_title(lines, "By forgetting share", "with standard errors")
    _boxes(boxes, spreads)
    panel_title(boxes, "By strength", "each point is one strength alpha")
    return figure, _label(title, shares, spreads)


def _lines(axes: Axes, shares: Sequence[Share], methods: Sequence[str]) -> None:
    """One line a method, named where it ends."""
    places = _ground(
        axes,
        [share for _, share, *_ in shares],
        [mean for *_, mean, _ in shares] + [mean + (se or 0) for *_, mean, se in shares],
    )
    ends = []
    looks = styles(methods, MARKERS[:-1])
    for index, (method, (colour, marker)) in enumerate(looks.items()):
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
        mark_absent(axes)
        return places
    axes.set_xlim(-0.5, len(places) - 0.5)
    lowest, highest = min(gaps), max(gaps)
    if 0 < lowest < highest / SPAN:
        axes.set_yscale("log")
        axes.set_ylim(0.8 * lowest, 1.25 * highest)
        ticks(axes.yaxis, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    else:
        axes.set_ylim(0, 1.08 * highest or 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    return places


def _check(keys: Sequence[tuple[str, float]]) -> None:
    """Refuse two entries of one name and share: a config may hold two sets of equal shares."""
    for name, share in keys:
        if keys.count((name, share)) > 1:
            raise BadInput(
                f"{name} at {share:g} % twice",
                expected="one entry for each name and share",
                fix="average over seeds first, or leave the figure out",
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
