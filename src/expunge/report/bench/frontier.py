"""What each method leaves against what it costs, over its budgets: forget, retain, test and mean.

After Figure 1 of the Datamodel Matching paper (Georgiev et al. 2024, arXiv 2410.23232): the 95th
percentile of KLoM against compute in retrainings. Differs: every trial is drawn and not only the
best, and so is the noise floor, below which retrained models cannot be told from each other.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expunge.report.bench.ends import LINE, End, marker_size, name_ends, room
from expunge.report.bench.grid import REFERENCE
from expunge.report.document import GROUPS
from expunge.report.figure.canvas import FAINT, INK, MARKERS, MUTED, drawing, panel_title, shorten
from expunge.report.figure.cost_axis import CostAxis
from expunge.report.figure.panels import mark_absent, panels, styles, ticks
from expunge.report.words import NOT_MEASURED, number, retrainings

AVERAGE = "average"
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


@dataclass(frozen=True)
class Point:
    """A trial: a method with one budget.

    Attributes:
        method: its name; trials of one method make one curve.
        cost: compute in retrainings; 0 for next to nothing.
        values: 95th percentile of KLoM in nats, by group: forget, retain, test, and average (the
            mean of the three). What was not measured is left out.
        se: standard errors of some of the values.
    """

    method: str
    cost: float
    values: Mapping[str, float]
    se: Mapping[str, float] = field(default_factory=dict)


@drawing
def frontier(
    points: Sequence[Point],
    noise: Mapping[str, float],
    members: int,
    title: str,
    *,
    original: Mapping[str, float],
    attributed: Collection[str],
    columns: int = 2,
) -> tuple[Figure, str]:
    """KLoM against compute: a panel for each of forget, retain, test and their mean.

    Faint marks are trials, with two standard errors each way where they are the best so far. A
    line is the lowest value of a method's trials up to each cost, in each panel by itself. At the
    right stand the methods with the end of their line. Methods take colours in the order in which
    they first occur; "retrain" is black.

    Args:
        points: all trials of all methods, at least one.
        noise: median 95th percentile of KLoM between groups of retrained models, by group.
        members: models in each of these groups.
        title: what was run, for those who do not see the figure.
        original: 95th percentiles of the models as they were: "do nothing".
        attributed: methods that need an attribution or teachers, whose cost is not on the axis.
        columns: panels side by side; 1 suits a narrow window.
    """
    looks = _looks(points)
    names = {m: shorten(m) + (" †" if m in attributed else "") for m in looks}
    groups = (*GROUPS, AVERAGE)
    wide = LEFT + PANEL[0] + room([*names.values(), "do nothing"], numbers=True)
    tall = max(PANEL[1], LINE * (len(names) + 1))
    axis = CostAxis.of([point.cost for point in points])
    cell, size = (wide, TOP + tall + BOTTOM), (PANEL[0], tall)
    below = 0.25 if attributed else 0.0
    figure, made = panels(len(groups), columns, cell, (LEFT, TOP), size, (0.0, below))
    for axes, group in zip(made, groups, strict=True):
        axis.draw(axes)
        ends = _panel(axes, points, group, looks, names, axis)
        ends += _levels(axes, group, noise, members, original)
        name_ends(axes, ends)
        panel_title(axes, "Mean of three" if group == AVERAGE else group.capitalize())
    if attributed:
        note = "† needs an attribution or teachers, whose cost is not on the axis"
        wide, tall = figure.get_size_inches()
        figure.text(0.1 / wide, 0.08 / tall, note, fontsize=8, color=MUTED)
    return figure, _label(title, points, noise, members)


def _panel(
    axes: Axes,
    points: Sequence[Point],
    group: str,
    looks: Mapping[str, tuple[str, str]],
    names: Mapping[str, str],
    axis: CostAxis,
) -> list[End]:
    """Draw trials and fronts of one group; returns where the fronts end."""
    ends = []
    for method, (colour, marker) in looks.items():
        trials = sorted(
            (point.cost, point.values[group], point.se.get(group, 0.0))
            for point in points
            if point.method == method and group in point.values
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
    ticks(axes.yaxis, TICKS)
    axes.set_ylabel("KLoM, 95th percentile")
    axes.set_xlabel("compute, in retrainings")
    if not ends:
        mark_absent(axes)
    return ends


def _levels(
    axes: Axes,
    group: str,
    noise: Mapping[str, float],
    members: int,
    original: Mapping[str, float],
) -> list[End]:
    """Draw the noise floor as a band with its name, and the original as a line across."""
    edge, before = noise.get(group), original.get(group)
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


def _looks(points: Sequence[Point]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method, retraining first."""
    names = dict.fromkeys(point.method for point in points)
    retrain = {REFERENCE: (INK, "*")} if REFERENCE in names else {}
    return retrain | styles((name for name in names if name != REFERENCE), MARKERS[:-1])


def _label(title: str, points: Sequence[Point], noise: Mapping[str, float], members: int) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for method in dict.fromkeys(point.method for point in points):
        trials = [p for p in points if p.method == method]
        scored = [(p.values[AVERAGE], p.cost) for p in trials if AVERAGE in p.values]
        found = "mean " + NOT_MEASURED
        if scored:
            found = f"lowest mean {number(min(scored)[0])} at {retrainings(min(scored)[1])}"
        parts.append(f"{method}: {found}")
    floor = number(noise.get(AVERAGE))
    return (
        f"{title}. 95th percentile of KLoM against compute in retrainings; noise floor of the mean "
        f"with {members} models {floor}. {'; '.join(parts)}."
    )
