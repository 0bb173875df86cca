"""Predicted against true change of outputs: what is well predicted lies on the diagonal.

A panel a group, each with its own scale: retained rows change many times less than forgotten ones.
Drawn from arrays and from what `audit.calibration` found in them.
"""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from expunge.audit.metrics.calibration import Calibration, Estimate
from expunge.report.figure.canvas import COLOURS, FAINT, INK, MUTED, drawing, shorten
from expunge.report.figure.panels import panels
from expunge.report.words import NOT_MEASURED, number

MOST = 2000  # points drawn, over all groups
CELL, CORNER, PANEL = (3.3, 3.6), (0.62, 0.86), (2.3, 2.3)  # inches of a group with its words
COLUMNS = 2
TONES = (COLOURS[1], COLOURS[0], *COLOURS[2:])  # the forgotten rows in the warm one

Changes = tuple[Tensor, Tensor]  # predicted and true change of the same outputs


@drawing
def calibration(
    changes: Mapping[str, Changes], found: Mapping[str, Calibration], title: str
) -> tuple[Figure, str]:
    """Scatter of predicted and true changes with the diagonal and the slope of each group.

    Of many outputs, evenly spaced ones in the order of their prediction are drawn, at most 2,000
    in all, and always the ends of both axes; slopes and numbers are those of `found`.

    Args:
        changes: group ("forget", ...) -> predicted and true change of margins in nats, shaped
            alike and finite.
        found: group -> its calibration; the same groups.
        title: which attribution predicted, for those who do not see the figure.
    """
    columns = min(COLUMNS, len(changes))
    figure, made = panels(len(changes), columns, CELL, CORNER, PANEL, (0.0, 0.25))
    for axes, (group, pair), tone in zip(made, changes.items(), cycle(TONES), strict=False):
        p, t = _drawn(*pair, MOST // len(changes))
        _ground(axes, p, t)
        _dots(axes, p, t, tone)
        _slope(axes, p, found[group].slope)
        _words(axes, group, found[group], len(p), pair[0].numel())
        axes.set_xlabel("predicted change of margin, nats")
        axes.set_ylabel("true change of margin, nats")
    figure.legend(handles=_keys(), loc="lower left", ncols=2, fontsize=8, borderpad=0)
    return figure, _label(title, found)


def _drawn(predicted: Tensor, true: Tensor, most: int) -> tuple[np.ndarray, np.ndarray]:
    p, t = (x.detach().double().flatten().cpu().numpy() for x in (predicted, true))
    if len(p) <= most:
        return p, t
    # By rank, not by place: every n-th place might always be the same class of a row.
    order = np.argsort(p, kind="stable")
    kept = order[np.linspace(0, len(p) - 1, most - 2).round().astype(int)]
    kept = np.union1d(kept, [t.argmin(), t.argmax()])
    return p[kept], t[kept]


def _ground(axes: Axes, p: np.ndarray, t: np.ndarray) -> None:
    """Equal axes that hold every point and the origin, and the diagonal."""
    low, high = min(p.min(), t.min(), 0.0), max(p.max(), t.max(), 0.0)
    room = 0.06 * ((high - low) or 1.0)
    ends = [float(low - room), float(high + room)]
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.plot(ends, ends, color=FAINT, linewidth=1.0, zorder=1)


def _dots(axes: Axes, p: np.ndarray, t: np.ndarray, tone: str) -> None:
    """All points as one path: an element each would make the page many times larger."""
    ends = np.repeat(np.stack([p, t], axis=1), 2, axis=0)
    path = Path(ends, np.tile([Path.MOVETO, Path.LINETO], len(p)))
    path.should_simplify = False  # a dot is a line without length, which would be left out
    size = 2.8 if len(p) < 300 else 2.0
    style = {"edgecolor": tone, "facecolor": "none", "capstyle": "round", "alpha": 0.8}
    axes.add_patch(PathPatch(path, linewidth=size, zorder=2, **style))


def _slope(axes: Axes, p: np.ndarray, slope: Estimate | None) -> None:
    if slope is not None:
        ends = np.array([min(p.min(), 0.0), max(p.max(), 0.0)])
        axes.plot(ends, slope.value * ends, color=INK, linewidth=1.1, zorder=3)


def _words(axes: Axes, group: str, found: Calibration, drawn: int, outputs: int) -> None:
    """The group's name and what was found in it, above the panel."""
    points = f"{outputs:,} points" if drawn == outputs else f"{drawn:,} of {outputs:,} points"
    ceiling = "" if found.ceiling is None else f", at best {number(found.ceiling.value)}"
    small = {"fontsize": 7.5, "color": MUTED}
    lines = (
        (45, shorten(group).capitalize(), {"fontsize": 9.5, "fontweight": "bold"}),
        (31, f"slope {_ranged(found.slope)}, {points}", small),
        (19.5, f"correlation {_ranged(found.correlation)}{ceiling}", small),
        (
            8,
            f"rms error {number(found.error.value)}, truth {number(found.truth.value)}, "
            f"noise {number(found.noise.value)}",
            small,
        ),
    )
    for above, text, style in lines:
        axes.annotate(text, (0, 1), (-36, above), "axes fraction", "offset points", **style)


def _keys() -> list[Line2D]:
    return [
        Line2D([], [], color=FAINT, linewidth=1.0, label="predicted = true"),
        Line2D([], [], color=INK, linewidth=1.1, label="slope through the origin"),
    ]


def _ranged(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOT_MEASURED
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def _label(title: str, found: Mapping[str, Calibration]) -> str:
    """The figure in words, for those who do not see it."""
    parts = [
        f"{group}: slope {_ranged(one.slope)}, correlation {_ranged(one.correlation)}"
        for group, one in found.items()
    ]
    return f"Predicted against true change, {title}. {'; '.join(parts)}."
