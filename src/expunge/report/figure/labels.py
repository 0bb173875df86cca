"""Placing text beside points so that nothing covers anything."""

from collections.abc import Sequence
from itertools import product
from math import cos, pi, sin

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from expunge.report.figure.canvas import INK, MUTED

DISTANCES = (8, 14, 22, 32, 44, 58)  # points, tried in this order
DIRECTIONS = 16
LEADER = 12  # points: from here on a thin line joins text and point


def beside(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    bars: Sequence[tuple[float, float]],
    levels: Sequence[float] = (),
    uprights: Sequence[float] = (),
) -> list[str]:
    """Write each text near its point, clear of all points, error bars and other texts.

    Where there is room, it is also clear of lines across the panel, and nearer to its own point
    than to any other.

    Args:
        axes: with its final limits and size.
        points: (x, y) of the markers, in data units.
        texts: one for each point.
        bars: (low, high) of each point's error bar, in data units.
        levels: y of horizontal lines, in data units.
        uprights: x of vertical lines, in data units.

    Returns:
        The texts for which there was no room; they are not drawn.
    """
    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    frame = axes.get_window_extent(renderer)
    pixel = figure.dpi / 72  # pixels in a point
    centres = [(float(x), float(y)) for x, y in map(axes.transData.transform, points)]
    taken = [_around(x, y, 4.5 * pixel) for x, y in centres]
    for (x, _), (low, high) in zip(points, bars, strict=True):
        (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)])
        taken.append(Bbox.from_extents(left - 1.5 * pixel, bottom, left + 1.5 * pixel, top))
    ruled = []
    corner = axes.get_xlim()[0], axes.get_ylim()[0]
    for level in levels:
        y = axes.transData.transform((corner[0], level))[1]
        ruled.append(Bbox.from_extents(frame.x0, y - 0.5 * pixel, frame.x1, y + 0.5 * pixel))
    for upright in uprights:
        x = axes.transData.transform((upright, corner[1]))[0]
        ruled.append(Bbox.from_extents(x - 0.5 * pixel, frame.y0, x + 0.5 * pixel, frame.y1))
    dropped = []
    for i, (centre, text) in enumerate(zip(centres, texts, strict=True)):
        drawn = axes.text(0, 0, text, fontsize=8, color=INK, zorder=2.5)
        drawn.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})
        size = drawn.get_window_extent(renderer)
        wanted = (centre, size.width, size.height, frame, pixel)
        others = centres[:i] + centres[i + 1 :]
        place = (
            _free(*wanted, [*taken, *ruled], others)
            or _free(*wanted, taken, others)
            or _free(*wanted, taken, [])
        )
        if place is None:
            drawn.remove()
            dropped.append(text)
            continue
        box, distance = place
        taken.append(box)
        x, y = axes.transData.inverted().transform((box.x0, box.y0))
        drawn.set_position((float(x), float(y)))
        drawn.set_verticalalignment("bottom")
        if distance >= LEADER:
            end = (min(max(centre[0], box.x0), box.x1), min(max(centre[1], box.y0), box.y1))
            ends = axes.transData.inverted().transform([centre, end])
            axes.plot(*ends.T, color=MUTED, linewidth=0.5, zorder=1)
            taken.extend(_along(centre, end, pixel))
    return dropped


def _free(
    centre: tuple[float, float],
    width: float,
    height: float,
    frame: Bbox,
    pixel: float,
    taken: list[Bbox],
    others: list[tuple[float, float]],
) -> tuple[Bbox, float] | None:
    """The nearest place for a text of this size, with its distance in points.

    It overlaps nothing in `taken` and is further from `others` than from its own point.
    """
    for distance, index in product(DISTANCES, range(DIRECTIONS)):
        # Start at the right, then alternate up and down: text is read from its left end.
        angle = (index + 1) // 2 * (1 if index % 2 else -1) * 2 * pi / DIRECTIONS
        x = centre[0] + distance * pixel * cos(angle) + (cos(angle) - 1) / 2 * width
        y = centre[1] + distance * pixel * sin(angle) + (sin(angle) - 1) / 2 * height
        box = Bbox.from_bounds(x, y, width, height)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 + 2 and frame.y0 <= box.y0
        if not inside or box.y1 > frame.y1 or any(box.overlaps(other) for other in taken):
            continue
        if not any(box.overlaps(_around(*other, (distance + 4) * pixel)) for other in others):
            return box, distance
    return None


def _around(x: float, y: float, radius: float) -> Bbox:
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _along(start: tuple[float, float], end: tuple[float, float], pixel: float) -> list[Bbox]:
    """Small boxes along a leader, so that later texts keep clear of it."""
    return [
        _around(
            start[0] + t / 8 * (end[0] - start[0]), start[1] + t / 8 * (end[1] - start[1]), pixel
        )
        for t in range(2, 8)
    ]


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near `wanted`, at least `gap` apart and within [low, high] where that fits.

    Args:
        wanted: positions along one axis, in any order.
        gap: smallest distance between two, in the same unit.
        low: lower end of the axis.
        high: upper end of the axis.

    Returns:
        One position for each wanted one, in the same order.
    """
    rank = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = low
    for i in rank:
        placed[i] = floor = max(wanted[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(rank):
        placed[i] = ceiling = min(placed[i], ceiling)
        ceiling -= gap
    return placed
