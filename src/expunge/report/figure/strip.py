"""Every forgotten row at a glance: where models stood before, where after, where they should be."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from expunge.audit.evidence.folder import Evidence
from expunge.report import document as doc
from expunge.report.document import Document
from expunge.report.figure.canvas import (
    AFTER,
    BEFORE,
    FAINT,
    ORACLE,
    drawing,
    panel_title,
    shorten,
)
from expunge.report.figure.panels import panels
from expunge.report.words import SIGNS
from expunge.report.worst import Margins, forget_margins, mean_of, spread_of

MOST_ROWS = 80  # rows a panel has room for; of more, evenly spaced ones are drawn
CELL = 2.6, 2.05  # inches of one method's panel when all columns are in use


@drawing
def strip(document: Document, evidence: Evidence, columns: int = 3) -> tuple[Figure, str] | None:
    """For each method, the mean margin of every forgotten row before and after.

    Rows stand from left to right by the mean margin of the oracles, whose mean and two standard
    deviations each way are a band. A good method brings its points into the band.

    Args:
        document: the contents of `audit.json`.
        evidence: margins or outputs behind it.
        columns: panels side by side; 2 suit a narrow window.

    Returns:
        SVG, or "" if every method was refused or no row was forgotten.

    Raises:
        BadInput: the evidence lacks a method.
    """
    entries = document["methods"]
    methods = [name for name in doc.order(document) if not doc.withheld(entries[name])]
    if not methods or not evidence.sizes[0]:
        return None
    across = min(columns, len(methods))
    cell = CELL[0] * columns / across, CELL[1]
    size = cell[0] - 0.62, 1.2
    figure, made = panels(len(methods), across, cell, (0.42, 0.45), size, (0.0, 0.3))
    shares = {}
    for index, (axes, method) in enumerate(zip(made, methods, strict=True)):
        shares[method] = _panel(axes, forget_margins(evidence, method))
        sign = SIGNS[doc.verdict(entries[method])]
        panel_title(axes, shorten(method), f"{sign.symbol} {sign.word}")
        axes.set_xlabel("forgotten rows")
        if index % across == 0:
            axes.set_ylabel("margin")
    figure.legend(handles=_keys(), loc="lower left", ncols=3, fontsize=8, borderpad=0)
    return figure, _label(shares)


def _panel(axes: Axes, found: Margins) -> float:
    """Draw one method; returns the share of all forgotten rows that end inside the band."""
    before, after, centre = (
        mean_of(side).numpy() for side in (found.before, found.after, found.oracle)
    )
    spread = 2 * spread_of(found.oracle).numpy()
    rank = np.argsort(centre, kind="stable")
    if len(rank) > MOST_ROWS:
        rank = rank[np.linspace(0, len(rank) - 1, MOST_ROWS).round().astype(int)]
    x = np.arange(len(rank))
    edges = np.stack([x - 0.5, x + 0.5], axis=1).ravel()
    low, high = (np.repeat((centre + side * spread)[rank], 2) for side in (-1, 1))
    axes.fill_between(edges, low, high, color=ORACLE, alpha=0.35, linewidth=0)
    # One path with gaps, not a path a row: a page may hold thousands of them.
    gaps = np.full_like(centre[rank], np.nan)
    joined = np.stack([before[rank], after[rank], gaps], axis=1).ravel()
    axes.plot(np.repeat(x, 3), joined, color=FAINT, linewidth=0.5)
    axes.plot(x, before[rank], "_", color=BEFORE, markersize=3.5)
    axes.plot(x, after[rank], "o", color=AFTER, markersize=2.3, markeredgewidth=0)
    axes.set_xticks([])
    axes.set_xlim(-1, len(rank))
    return float(np.mean(np.abs(after - centre) <= spread))


def _keys() -> list[Line2D | Patch]:
    return [
        Patch(color=ORACLE, alpha=0.35, linewidth=0, label="retrained, mean ± 2 sd"),
        Line2D([], [], color=BEFORE, marker="_", linestyle="", label="before"),
        Line2D([], [], color=AFTER, marker="o", markersize=3, linestyle="", label="after"),
    ]


def _label(shares: dict[str, float]) -> str:
    """The figure in words, for those who do not see it."""
    parts = [f"{method} {100 * inside:.0f} %" for method, inside in shares.items()]
    return (
        "Mean margin of each forgotten row before and after each method, against models retrained "
        f"without the rows. Rows that end within two standard deviations: {', '.join(parts)}."
    )
