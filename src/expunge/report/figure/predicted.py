"""Margins of single rows over models: originals, what was predicted for them, and retrained models.

After Figure 4 of Georgiev et al. 2024, Attribute-to-Delete: Machine Unlearning via Datamodel
Matching, arXiv 2410.23232. A good prediction moves the originals onto the retrained models; as it
moves all of them alike, it does not change the shape of their distribution of outputs.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from expunge.report.figure.canvas import drawing, panel_title, shorten
from expunge.report.figure.curves import curve_keys, draw_curves
from expunge.report.figure.panels import panels
from expunge.report.words import number

CELL, CORNER, PANEL = (3.3, 1.72), (0.1, 0.42), (2.9, 0.8)  # inches
COLUMNS = 2


@drawing
def predicted(
    null: Tensor, shifted: Tensor, oracle: Tensor, rows: Sequence[int], names: Sequence[str]
) -> tuple[Figure, str]:
    """Distributions over models of the margins of a few rows, as small multiples.

    Args:
        null: (M, rows) margins of models trained on all rows, in nats.
        shifted: (K, rows) margins of the same models with the predicted change of their outputs
            added; for classification margins of shifted logits, not shifted margins.
        oracle: (N, rows) margins of models retrained without the forgotten rows.
        rows: which to show, places in the second axis; see `choose`.
        names: a heading for each of them, such as "Row 903, forgotten".
    """
    groups = [x.detach().double().cpu().numpy()[:, list(rows)] for x in (null, shifted, oracle)]
    columns = min(COLUMNS, len(rows))
    figure, made = panels(len(rows), columns, CELL, CORNER, PANEL, (0.0, 0.25))
    for index, (axes, heading) in enumerate(zip(made, names, strict=True)):
        before, after, truth = (group[:, index] for group in groups)
        draw_curves(axes, before, after, truth)
        panel_title(axes, shorten(heading), _changes(before, after, truth))
        axes.set_xlabel("margin, nats", labelpad=2)
    keys = curve_keys("original", "predicted", "retrained")
    figure.legend(handles=keys, loc="lower left", ncols=3, fontsize=8, borderpad=0)
    return figure, _label(groups, names)


def choose(null: Tensor, oracle: Tensor, count: int = 4) -> list[int]:
    """Rows for the figure, without a look at the prediction: from the largest change to the middle.

    Args:
        null: (M, rows) margins of originals.
        oracle: (N, rows) margins of retrained models.
        count: how many, at least 1.

    Returns:
        At most `count` places, at even ranks of the size of the true change of the mean, from the
        largest to the median.
    """
    change = (oracle.double().mean(0) - null.double().mean(0)).abs()
    order = change.argsort(descending=True, stable=True).tolist()
    last = len(order) // 2
    ranks = np.linspace(0, last, min(count, last + 1)).round().astype(int) if order else []
    return [order[rank] for rank in ranks]


def _changes(before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> str:
    said, true = (float(x.mean() - before.mean()) for x in (after, truth))
    return f"predicted {_signed(said)}, true {_signed(true)}"


def _signed(value: float) -> str:
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return sign + number(abs(value))


def _label(groups: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for index, name in enumerate(names):
        before, after, truth = (number(float(group[:, index].mean())) for group in groups)
        parts.append(f"{name}: mean margin {before}, predicted {after}, retrained {truth}")
    return f"Margins before, as predicted without the rows, and retrained. {'; '.join(parts)}."
