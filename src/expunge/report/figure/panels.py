"""What the panels of all figures share: where they stand, their ticks, and the looks of methods."""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from math import ceil

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from expunge.report.figure.canvas import COLOURS, MARKERS, MUTED
from expunge.report.words import NOT_MEASURED


def panels(
    count: int,
    columns: int,
    cell: tuple[float, float],
    corner: tuple[float, float],
    size: tuple[float, float],
    more: tuple[float, float] = (0.0, 0.0),
) -> tuple[Figure, list[Axes]]:
    """A figure of equal cells, row by row, with the axes of one panel in each.

    Args:
        count: panels.
        columns: cells side by side.
        cell: width and height of a cell, in inches as all lengths.
        corner: from the upper left corner of a cell to that of its panel, rightwards and down.
        size: width and height of a panel.
        more: width at the right of all cells, and height below them.
    """
    wide, tall = cell[0] * columns + more[0], cell[1] * ceil(count / columns) + more[1]
    figure = Figure(figsize=(wide, tall))
    places = (divmod(index, columns) for index in range(count))
    corners = [(corner[0] + cell[0] * column, corner[1] + cell[1] * row) for row, column in places]
    return figure, [
        figure.add_axes((left / wide, 1 - (top + size[1]) / tall, size[0] / wide, size[1] / tall))
        for left, top in corners
    ]


def styles(names: Iterable[str], markers: Sequence[str] = MARKERS) -> dict[str, tuple[str, str]]:
    """Colour and marker of each name; no pair repeats before the 24th."""
    return dict(zip(names, zip(cycle(COLOURS), cycle(markers), strict=False), strict=False))


def ticks(
    axis: Axis, places: Sequence[float], text: Callable[[float], str] = "{:g}".format
) -> None:
    """Put ticks at these places alone, on an axis of any scale."""
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(NullLocator())


def mark_absent(axes: Axes) -> None:
    """Write into an empty panel that nothing was measured."""
    middle = {"ha": "center", "va": "center", "color": MUTED, "transform": axes.transAxes}
    axes.text(0.5, 0.5, NOT_MEASURED, **middle)
