"""What each method leaves against what it costs, over its budgets: forget, retain, test and mean.

After Figure 1 of the Datamodel Matching paper (Georgiev et al. 2024, arXiv 2410.23232): the 95th
percentile of KLoM against compute in retrainings. Differs: every trial is drawn and not only the
best, and so is the noise floor, below which retrained models cannot be told from each other.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from expunge.report.bench.ends import LINE, End, marker_size, name_ends, room
from expunge.report.bench.trial import AVERAGE, Point, check, value
from expunge.report.document import GROUPS
from expunge.report.figure.canvas import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    MUTED,
    look,
    panel_title,
    shorten,
    svg,
)
from expunge.report.figure.cost_axis import CostAxis
from expunge.report.words import NOT_MEASURED, number, retrainings

LARGEST = 11.51  # nats: no KLoM is larger
LOWEST = 0.05  # nats: what is lower is drawn here, because the axis has no 0
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
PANEL = 2.25, 2.3  # inches of a panel, at least; it grows with the list of methods
LEFT, TOP, BOTTOM = 0.52, 0.42, 0.52  # inches around a panel
CAPTION = (
    "95th percentile of KLoM against compute; left and low is better, down to the noise floor. "
    "Faint marks are trials; a line is the lowest value of a method’s trials up to each cost, in "
    "each panel by itself, and the number at the right is where it ends. Bars are two standard "
    "errors each way. In the shaded strip at the left, if there is one, the cost is next to "
    "nothing."
)

Styles = Mapping[str, tuple[str, str]]  # method -> colour, marker


def frontier(
    points: Sequence[Point],
    noise: Mapping[str, float],
    members: int,
    title: str,
    *,
    original: Mapping[str, float] | None = None,
    attributed: Collection[str] = (),
    reference: str = "retrain",
    columns: int = 2,
) -> str:
    """KLoM against compute as SVG: a panel for each of forget, retain, test and their mean.

    Faint marks are trials, with two standard errors each way where they are the best so far. A
    line is the lowest value of a method's trials up to each cost, in each panel by itself. At the
    right stand the methods with the end of their line.

    Args:
        points: all trials of all methods, in any order; a method keeps its colour whatever the
            others score, but not if methods before it are left out.
        noise: median 95th percentile of KLoM between groups of retrained models, by group.
        members: models in each of these groups.
        title: what was run; said to those who do not see the figure.
        original: 95th percentiles of the models as they were: "do nothing".
        attributed: methods that need an attribution or teachers, whose cost is not on the axis.
        reference: the method that retrains, drawn in black.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        One `<svg>` element; equal input gives equal bytes.

    Raises:
        BadInput: no trial, an unknown group, or a cost, value or error below 0 or not finite.
    """
    name = f"frontier-{columns}"
    with look(name):
        figure = draw_frontier(
            points,
            noise,
            members,
            original=original,
            attributed=attributed,
            reference=reference,
            columns=columns,
        )
        return svg(figure, name, _label(title, points, noise, members))


def draw_frontier(
    points: Sequence[Point],
    noise: Mapping[str, float],
    members: int,
    *,
    original: Mapping[str, float] | None = None,
    attributed: Collection[str] = (),
    reference: str = "retrain",
    columns: int = 2,
) -> Figure:
    """The figure of `frontier`, for a file of another kind; arguments and errors as there."""
    check(points)
    styles = _styles(points, reference)
    names = {m: shorten(m) + (" †" if m in attributed else "") for m in styles}
    groups = (*GROUPS, AVERAGE)
    wide = LEFT + PANEL[0] + room([*names.values(), "do nothing"], numbers=True)
    tall = max(PANEL[1], LINE * (len(names) + 1))
    cell = TOP + tall + BOTTOM
    axis = CostAxis.of([point.cost for point in points])
    with look(f"frontier-{columns}"):
        size = wide * columns, cell * ceil(len(groups) / columns) + (0.25 if attributed else 0)
        figure = Figure(figsize=size)
        for index, group in enumerate(groups):
            row, column = divmod(index, columns)
            left, top = wide * column + LEFT, cell * row + TOP
            axes = figure.add_axes(
                (left / size[0], 1 - (top + tall) / size[1], PANEL[0] / size[0], tall / size[1])
            )
            axis.draw(axes)
            ends = _panel(axes, points, group, styles, names, axis)
            ends += _levels(axes, group, noise, members, original or {})
            name_ends(axes, ends)
            panel_title(axes, "Mean of three" if group == AVERAGE else group.capitalize())
        if attributed:
            note = "† needs an attribution or teachers, whose cost is not on the axis"
            figure.text(0.1 / size[0], 0.08 / size[1], note, fontsize=8, color=MUTED)
        return figure


def _panel(
    axes: Axes,
    points: Sequence[Point],
    group: str,
    styles: Styles,
    names: Mapping[str, str],
    axis: CostAxis,
) -> list[End]:
    """Draw trials and fronts of one group; returns where the fronts end."""
    ends = []
    for method, (colour, marker) in styles.items():
        trials = sorted(
            (point.cost, level, (point.se or {}).get(group, 0.0))
            for point in points
            if point.method == method and (level := value(point.values, group)) is not None
        )
        if not trials:
            continue
        x = [axis.place(cost) for cost, _, _ in trials]
        y = [max(level, LOWEST) for _, level, _ in trials]
        front = [min(y[: i + 1]) for i in range(len(y))]
        marks = {"marker": marker, "markersize": marker_size(marker), "markeredgewidth": 0}
        axes.plot(x, y, linestyle="", color=colour, alpha=0.3, zorder=3, **marks)
        axes.plot(x, front, color=colour, linewidth=1.1, zorder=3.5)
        for i in range(len(y)):
            if y[i] == front[i]:
                half = 2 * trials[i][2]
                bar = [max(y[i] - half, LOWEST), y[i] + half]
                axes.plot([x[i]] * 2, bar, color=colour, linewidth=0.8, zorder=3)
                axes.plot(x[i], y[i], linestyle="", color=colour, zorder=4, **marks)
        best = min(level for _, level, _ in trials)
        ends.append(End(names[method], number(best), x[-1], front[-1], colour, marker))
    axes.set_yscale("log")
    axes.set_ylim(min([0.3, *(0.75 * end.y for end in ends)]), 1.15 * LARGEST)
    axes.yaxis.set_major_locator(FixedLocator(TICKS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("KLoM, 95th percentile")
    axes.set_xlabel("compute, in retrainings")
    if not ends:
        middle = {"ha": "center", "va": "center", "color": MUTED, "transform": axes.transAxes}
        axes.text(0.5, 0.5, NOT_MEASURED, **middle)
    return ends


def _levels(
    axes: Axes,
    group: str,
    noise: Mapping[str, float],
    members: int,
    original: Mapping[str, float],
) -> list[End]:
    """Draw the noise floor as a band with its name, and the original as a line across."""
    edge, before = value(noise, group), value(original, group)
    if edge is not None:
        bottom = axes.get_ylim()[0]
        axes.axhspan(bottom, edge, color=FAINT, alpha=0.3, linewidth=0, zorder=0)
        note = f"noise floor {number(edge)} ({members} models)"
        axes.text(0.02, 0.02, note, fontsize=7.5, color=MUTED, transform=axes.transAxes)
    if before is None:
        return []
    level = max(before, LOWEST)
    axes.axhline(level, color=INK, linewidth=0.8, linestyle=":", zorder=1)
    return [End("do nothing", number(before), None, level, INK, "")]


def _styles(points: Sequence[Point], reference: str) -> Styles:
    """Colour and marker of each method; no pair repeats before the 24th."""
    names = dict.fromkeys(point.method for point in points)
    pairs = zip(cycle(COLOURS), cycle(MARKERS[:-1]), strict=False)
    styles = {name: next(pairs) for name in names if name != reference}
    return ({reference: (INK, "*")} if reference in names else {}) | styles


def _label(title: str, points: Sequence[Point], noise: Mapping[str, float], members: int) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for method in dict.fromkeys(point.method for point in points):
        trials = [p for p in points if p.method == method]
        scored = [(v, p.cost) for p in trials if (v := value(p.values, AVERAGE)) is not None]
        found = "mean " + NOT_MEASURED
        if scored:
            found = f"lowest mean {number(min(scored)[0])} at {retrainings(min(scored)[1])}"
        parts.append(f"{method}: {found}")
    floor = number(value(noise, AVERAGE))
    return (
        f"{title}. 95th percentile of KLoM against compute in retrainings; noise floor of the mean "
        f"with {members} models {floor}. {'; '.join(parts)}."
    )
