"""How sure models are of the rows worst forgotten: before, after, and had they never seen them."""

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from expunge.audit.evidence.folder import Evidence
from expunge.report import document as doc
from expunge.report.document import Document
from expunge.report.figure.canvas import AFTER, BEFORE, ORACLE, look, panel_title, svg
from expunge.report.words import number
from expunge.report.worst import SHOWN, Margins, forget_margins, row_title, worst_rows

FEWEST_FOR_CURVE = 8  # models; fewer are drawn one by one
GRID = 160  # points of a curve
CELL = 3.9, 1.5  # inches of one row's panel, picture included


def distributions(
    document: Document, evidence: Evidence, method: str, count: int = SHOWN, columns: int = 2
) -> str:
    """Margins of the forgotten rows furthest from the oracles, as small multiples.

    Oracles are a filled curve, the originals a dashed one and the unlearned models a solid one,
    each scaled to the same height; fewer than eight models are drawn as one line each. The row's
    picture stands beside it where the evidence holds pictures.

    Args:
        document: the contents of `audit.json`.
        evidence: margins or outputs behind it.
        method: a name among the document's methods.
        count: rows to show, the worst first.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        SVG, or "" if the method was refused or no row was forgotten.

    Raises:
        BadInput: the evidence lacks the method.
    """
    found = forget_margins(evidence, method)
    if doc.withheld(document["methods"][method]) or not found.after.shape[1]:
        return ""
    worst = worst_rows(document, evidence, method, found, count)
    name = f"distributions-{list(document['methods']).index(method)}-{columns}"
    with look(name):
        rows = ceil(len(worst) / columns)
        figure = Figure(figsize=(CELL[0] * columns, CELL[1] * rows + 0.3))
        for index, row in enumerate(worst):
            axes = _cell(figure, evidence, row.place, *divmod(index, columns))
            _curves(axes, found, row.place)
            panel_title(axes, row.caption, row.detail)
        figure.legend(handles=_keys(), loc="lower left", ncols=3, fontsize=8, borderpad=0)
        return svg(figure, name, _label(evidence, found, method, [row.place for row in worst]))


def _cell(figure: Figure, evidence: Evidence, row: int, line: int, column: int) -> Axes:
    """The axes of one row, with its picture at the left where there is one."""
    width, height = figure.get_size_inches()
    left, top = CELL[0] * column + 0.1, CELL[1] * line + 0.42
    pictures = (evidence.pictures or {}).get("forget")
    indent = 0.0
    if pictures is not None:
        indent = 0.85
        frame = figure.add_axes(
            (left / width, 1 - (top + 0.72) / height, 0.72 / width, 0.72 / height)
        )
        frame.imshow(
            np.asarray(pictures[row]), cmap="gray", vmin=0, vmax=255, interpolation="nearest"
        )
        frame.set_axis_off()
    return figure.add_axes(
        (
            (left + indent) / width,
            1 - (top + 0.72) / height,
            (CELL[0] - 0.35 - indent) / width,
            0.72 / height,
        )
    )


def _curves(axes: Axes, found: Margins, row: int) -> None:
    before, after, oracle = (values.numpy() for values in found.of(row))
    everything = np.concatenate([before, after, oracle])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    margin = 0.12 * (np.ptp(everything) or 1.0)
    grid = np.linspace(everything.min() - margin, everything.max() + margin, GRID)
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
    axes.set_ylim(0, 1.05)
    axes.set_xlim(grid[0], grid[-1])


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


def _keys() -> list[Line2D | Patch]:
    return [
        Patch(color=ORACLE, alpha=0.4, linewidth=0, label="retrained without the row"),
        Line2D([], [], color=BEFORE, linestyle=(0, (4, 2)), label="before"),
        Line2D([], [], color=AFTER, label="after"),
    ]


def _label(evidence: Evidence, found: Margins, method: str, worst: list[int]) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for row in worst:
        before, after, oracle = (number(float(values.mean())) for values in found.of(row))
        parts.append(
            f"{row_title(evidence, row).replace('Row', 'row', 1)}: mean margin before {before}, "
            f"after {after}, retrained {oracle}"
        )
    return f"Margins of the rows furthest from retrained models, {method}. {'; '.join(parts)}."
