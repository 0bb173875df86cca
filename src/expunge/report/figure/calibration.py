"""Predicted against true change of outputs: what is well predicted lies on the diagonal.

A panel a group, each with its own scale: retained rows change many times less than forgotten ones.
Drawn from arrays and from what `audit.calibration` found in them.
"""

from collections.abc import Mapping
from itertools import cycle
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from expunge.audit.metrics.calibration import Calibration, Estimate
from expunge.errors import BadInput
from expunge.report.figure.canvas import COLOURS, FAINT, INK, MUTED, look, shorten, svg
from expunge.report.words import NOT_MEASURED, number

MOST = 2000  # points drawn, over all groups
CELL, PANEL = (3.3, 3.6), 2.3  # inches of one group with its words, and of its square panel
LEFT, TOP = 0.62, 0.86  # inches from the corner of the cell to the panel
TONES = (COLOURS[1], COLOURS[0], *COLOURS[2:])  # the forgotten rows in the warm one

Changes = tuple[Tensor, Tensor]  # predicted and true change of the same outputs


def calibration(
    changes: Mapping[str, Changes],
    found: Mapping[str, Calibration],
    title: str,
    *,
    what: str = "change of margin",
    unit: str = "nats",
    columns: int = 2,
) -> str:
    """Scatter of predicted and true changes with the diagonal and the slope of each group.

    Of many outputs, evenly spaced ones in the order of their prediction are drawn, at most 2,000
    in all, and always the ends of both axes; slopes and numbers are those of `found`.

    Args:
        changes: group ("forget", ...) -> predicted and true change, shaped alike, in `unit`.
            Logits: centred over classes, if `found` was.
        found: group -> its calibration; the same groups.
        title: which attribution predicted; said to those who do not see the figure.
        what: what changes, for the axes.
        unit: of the changes; "" for none.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        One `<svg>` element; equal input gives equal bytes.

    Raises:
        BadInput: no group, groups or shapes that differ, no numbers, or one that is not finite.
    """
    _check(changes, found)
    width = CELL[0] * min(columns, len(changes))
    height = CELL[1] * ceil(len(changes) / columns) + 0.25
    name = f"calibration-{columns}"
    with look(name):
        figure = Figure(figsize=(width, height))
        for index, (group, tone) in enumerate(zip(changes, cycle(TONES), strict=False)):
            line, column = divmod(index, columns)
            left, top = CELL[0] * column + LEFT, CELL[1] * line + TOP
            axes = figure.add_axes(
                (left / width, 1 - (top + PANEL) / height, PANEL / width, PANEL / height)
            )
            p, t = _drawn(*changes[group], MOST // len(changes))
            _ground(axes, p, t)
            _dots(axes, p, t, tone)
            _slope(axes, p, found[group].slope)
            _words(axes, group, found[group], len(p), changes[group][0].numel())
            axes.set_xlabel(f"predicted {what}" + (f", {unit}" if unit else ""))
            axes.set_ylabel(f"true {what}" + (f", {unit}" if unit else ""))
        figure.legend(handles=_keys(), loc="lower left", ncols=2, fontsize=8, borderpad=0)
        return svg(figure, name, _label(title, found))


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
    lines = (
        (shorten(group).capitalize(), {"fontsize": 9.5, "fontweight": "bold"}),
        (f"slope {_ranged(found.slope)}, {points}", {"fontsize": 7.5, "color": MUTED}),
        (f"correlation {_ranged(found.correlation)}{ceiling}", {"fontsize": 7.5, "color": MUTED}),
        (
            f"rms error {number(found.error.value)}, truth {number(found.truth.value)}, "
            f"noise {number(found.noise.value)}",
            {"fontsize": 7.5, "color": MUTED},
        ),
    )
    for above, (text, style) in zip((45, 31, 19.5, 8), lines, strict=True):
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


def _check(changes: Mapping[str, Changes], found: Mapping[str, Calibration]) -> None:
    if not changes or changes.keys() != found.keys():
        raise BadInput(
            f"changes of {', '.join(changes) or 'no group'}, calibrations of "
            f"{', '.join(found) or 'none'}",
            expected="the same groups, at least one",
            fix="calibrate every group that is drawn",
        )
    for group, pair in changes.items():
        shapes = [tuple(x.shape) for x in pair]
        if shapes[0] != shapes[1] or not all(x.numel() and x.isfinite().all() for x in pair):
            raise BadInput(
                f"predicted and true changes of {group} have shapes {shapes[0]} and {shapes[1]}",
                expected="the same shape, at least one number, all of them finite",
                fix="compute both on the same rows",
            )


def _label(title: str, found: Mapping[str, Calibration]) -> str:
    """The figure in words, for those who do not see it."""
    parts = [
        f"{group}: slope {_ranged(one.slope)}, correlation {_ranged(one.correlation)}"
        for group, one in found.items()
    ]
    return f"Predicted against true change, {title}. {'; '.join(parts)}."
