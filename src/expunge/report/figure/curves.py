"""One row's margins over three groups of models, as curves of equal height or as single lines."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from expunge.report.figure.canvas import AFTER, BEFORE, ORACLE

FEWEST_FOR_CURVE = 8  # models; fewer are drawn one by one
GRID = 160  # points of a curve


def draw_curves(axes: Axes, before: np.ndarray, after: np.ndarray, oracle: np.ndarray) -> None:
    """Fill the curve of the oracles, dash that of the originals, and draw the third solid.

    Args:
        axes: a panel of its own.
        before: (members,) margins of the originals.
        after: those of unlearned models, or predicted ones.
        oracle: those of retrained models.
    """
    everything = np.concatenate([before, after, oracle])
    room = 0.12 * (np.ptp(everything) or 1.0)
    grid = np.linspace(everything.min() - room, everything.max() + room, GRID)
    for values, colour, dashes in (
        (oracle, ORACLE, None),
        (before, BEFORE, (4, 2)),
        (after, AFTER, ()),
    ):
        style = {"color": colour, "linewidth": 1.4, "linestyle": (0, dashes or ())}
        if len(values) < FEWEST_FOR_CURVE:
            for value in values:
                axes.plot([value, value], [0, 0.95], **style)
        elif dashes is None:
            axes.fill_between(grid, density(values, grid), color=ORACLE, alpha=0.4, linewidth=0)
        else:
            axes.plot(grid, density(values, grid), **style)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(0, 1.05)
    axes.set_xlim(grid[0], grid[-1])


def curve_keys(before: str, after: str, oracle: str) -> list[Line2D | Patch]:
    """Entries of a legend with these names."""
    return [
        Line2D([], [], color=BEFORE, linestyle=(0, (4, 2)), label=before),
        Line2D([], [], color=AFTER, label=after),
        Patch(color=ORACLE, alpha=0.4, linewidth=0, label=oracle),
    ]


def density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A Gaussian kernel estimate on `grid`, scaled to a largest value of 1.

    Args:
        values: (members,) finite margins, at least one.
        grid: (points,) increasing.

    Returns:
        (points,) numbers from 0 to 1.
    """
    quartiles = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    spread = min(filter(None, (values.std(), quartiles)), default=0.0)  # Silverman's rule
    # Never narrower than a pixel or so, or a curve would fall between two points of the grid.
    width = max(0.9 * spread * len(values) ** -0.2, 0.004 * np.ptp(grid), 1e-12)
    heights = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2).sum(1)
    return heights / max(heights.max(), 1e-300)
