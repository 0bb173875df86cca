"""Names at the right of a panel, each joined to where its line ends."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from expunge.report.figure.canvas import INK, MUTED
from expunge.report.figure.labels import apart

SIZE = 7.5  # points of the text
LINE = 0.128  # inches between two names
LETTER = 0.062  # inches of an average letter: names are measured before there is a canvas
LEADER, NUMBER = 0.18, 0.47  # inches from the panel to the mark, and on to the name


@dataclass(frozen=True)
class End:
    """The end of a line, and its name.

    Attributes:
        name: text, short enough.
        value: a number to stand before the name, or "".
        x: where the line ends, in the panel's data units; None for a line across the panel.
        y: likewise.
        colour: of the line.
        marker: of the line; "" for a dashed line without marks.
    """

    name: str
    value: str
    x: float | None
    y: float
    colour: str
    marker: str


def room(names: Sequence[str], numbers: bool) -> float:
    """Inches that a list of these names takes at the right of a panel."""
    longest = max(map(len, names), default=0)
    return LEADER + (NUMBER if numbers else 0.15) + LETTER * longest + 0.1


def name_ends(axes: Axes, ends: Sequence[End]) -> None:
    """List the lines at the right of a panel, as near to their ends as there is room.

    Args:
        axes: with its final limits and size.
        ends: one a line; those that end higher are listed higher.
    """
    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    to_axes = axes.transData + axes.transAxes.inverted()
    frame = axes.get_window_extent()
    wide, tall = frame.width / figure.dpi, frame.height / figure.dpi
    corner = axes.get_xlim()[1]
    tips = [to_axes.transform((corner if end.x is None else end.x, end.y)) for end in ends]
    heights = apart([float(y) for _, y in tips], LINE / tall, 0.0, 1.0)
    numbers = any(end.value for end in ends)
    mark = 1 + LEADER / wide
    text = mark + (NUMBER if numbers else 0.1) / wide
    free = {"transform": axes.transAxes, "clip_on": False}
    for end, (x, y), height in zip(ends, tips, heights, strict=True):
        turns = [float(x), 1 + 0.02 / wide, mark - 0.07 / wide], [float(y), float(y), height]
        axes.plot(*turns, color=end.colour, linewidth=0.5, alpha=0.5, zorder=2, **free)
        if end.marker:
            style = {"markersize": marker_size(end.marker), "markeredgewidth": 0}
            axes.plot(mark, height, end.marker, color=end.colour, **style, **free)
        else:
            dash = [mark - 0.05 / wide, mark + 0.05 / wide]
            axes.plot(dash, [height] * 2, ":", color=end.colour, linewidth=1, **free)
        words = {"va": "center_baseline", "fontsize": SIZE, "transform": axes.transAxes}
        axes.text(text, height, end.name, color=INK, **words)
        if end.value:
            place = text - 0.06 / wide
            axes.text(place, height, end.value, ha="right", color=MUTED, **words)


def marker_size(marker: str) -> float:
    """Points of a marker; a star has thin arms and needs more."""
    return 7.0 if marker == "*" else 4.5
