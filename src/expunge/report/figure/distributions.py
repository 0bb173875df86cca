"""How sure models are of the rows worst forgotten: before, after, and had they never seen them."""

import numpy as np
from matplotlib.figure import Figure

from expunge.audit.evidence.folder import Evidence
from expunge.report import document as doc
from expunge.report.document import Document
from expunge.report.figure.canvas import drawing, panel_title
from expunge.report.figure.curves import curve_keys, draw_curves
from expunge.report.figure.panels import panels
from expunge.report.words import number
from expunge.report.worst import Margins, forget_margins, row_title, worst_rows

CELL = 3.9, 1.5  # inches of one row's panel, picture included
PICTURE = 0.72  # inches of a picture's side, and of a panel's height


@drawing
def distributions(
    document: Document, evidence: Evidence, method: str, columns: int = 2
) -> tuple[Figure, str] | None:
    """Margins of the forgotten rows furthest from the oracles, as small multiples.

    Oracles are a filled curve, the originals a dashed one and the unlearned models a solid one,
    each scaled to the same height; fewer than eight models are drawn as one line each. The row's
    picture stands beside it where the evidence holds pictures.

    Args:
        document: the contents of `audit.json`.
        evidence: margins or outputs behind it.
        method: a name among the document's methods.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        SVG, or "" if the method was refused or no row was forgotten.

    Raises:
        BadInput: the evidence lacks the method.
    """
    found = forget_margins(evidence, method)
    if doc.withheld(document["methods"][method]) or not found.after.shape[1]:
        return None
    worst = worst_rows(document, evidence, method, found)
    pictures = (evidence.pictures or {}).get("forget")
    indent = 0.0 if pictures is None else PICTURE + 0.13
    corner, size = (0.1 + indent, 0.42), (CELL[0] - 0.35 - indent, PICTURE)
    figure, made = panels(len(worst), columns, CELL, corner, size, (0.0, 0.3))
    for axes, row in zip(made, worst, strict=True):
        draw_curves(axes, *(values.numpy() for values in found.of(row.place)))
        panel_title(axes, row.caption, row.detail)
        if pictures is not None:
            frame = axes.inset_axes((-indent / size[0], 0, PICTURE / size[0], 1))
            picture = np.asarray(pictures[row.place])
            frame.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            frame.set_axis_off()
    before, after, oracle = curve_keys("before", "after", "retrained without the row")
    keys = [oracle, before, after]
    figure.legend(handles=keys, loc="lower left", ncols=3, fontsize=8, borderpad=0)
    return figure, _label(evidence, found, method, [row.place for row in worst])


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
