"""Margins of single rows over models: originals, what was predicted for them, and retrained models.

After Figure 4 of Georgiev et al. 2024, Attribute-to-Delete: Machine Unlearning via Datamodel
Matching, arXiv 2410.23232. A good prediction moves the originals onto the retrained models; as it
moves all of them alike, it does not change the shape of their distribution of outputs.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from expunge.audit.evidence.margin import check_margins
from expunge.errors import BadInput
from expunge.report.figure.canvas import AFTER, BEFORE, ORACLE, look, panel_title, shorten, svg
from expunge.report.figure.distributions import FEWEST_FOR_CURVE, GRID, density
from expunge.report.words import number

CELL = 3.3, 1.72  # inches of one row's panel
FRAME = 2.9, 0.8  # inches of its axes
MOST = 6


def predicted(
    null: Tensor,
    shifted: Tensor,
    oracle: Tensor,
    rows: Sequence[int],
    names: Sequence[str],
    *,
    columns: int = 2,
    unit: str = "nats",
) -> str:
    """Distributions over models of the margins of a few rows, as small multiples.

    Retrained models are a filled curve, the originals a dashed one and the prediction a solid one,
    each scaled to the same height; fewer than eight models are drawn as one line each.

    Args:
        null: (M, rows) margins of models trained on all rows.
        shifted: (K, rows) margins of the same models with the predicted change of their outputs
            added; for classification margins of shifted logits, not shifted margins.
        oracle: (N, rows) margins of models retrained without the forgotten rows.
        rows: which to show, 1 to 6 places in the second axis; see `choose`.
        names: a heading for each of them, such as "Row 903, forgotten".
        columns: panels side by side; 1 suits a narrow window.
        unit: of the margins; "" for none.

    Returns:
        One `<svg>` element; equal input gives equal bytes.

    Raises:
        BadInput: shapes that do not fit, a margin that is not finite, no rows or more than 6, one
            that does not exist, or not a name for each.
    """
    _check(null, shifted, oracle, rows, names)
    groups = [x.detach().double().cpu().numpy()[:, list(rows)] for x in (null, shifted, oracle)]
    name = f"predicted-{columns}"
    with look(name):
        lines = ceil(len(rows) / columns)
        width, height = CELL[0] * min(columns, len(rows)), CELL[1] * lines + 0.25
        figure = Figure(figsize=(width, height))
        for index, heading in enumerate(names):
            line, column = divmod(index, columns)
            left, top = CELL[0] * column + 0.1, CELL[1] * line + 0.42
            axes = figure.add_axes(
                (
                    left / width,
                    1 - (top + FRAME[1]) / height,
                    FRAME[0] / width,
                    FRAME[1] / height,
                )
            )
            before, after, truth = (group[:, index] for group in groups)
            _curves(axes, before, after, truth)
            panel_title(axes, shorten(heading), _changes(before, after, truth))
            axes.set_xlabel("margin" + (f", {unit}" if unit else ""), labelpad=2)
        figure.legend(handles=_keys(), loc="lower left", ncols=3, fontsize=8, borderpad=0)
        return svg(figure, name, _label(groups, names))


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


def _curves(axes: Axes, before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> None:
    everything = np.concatenate([before, after, truth])
    room = 0.12 * (np.ptp(everything) or 1.0)
    grid = np.linspace(everything.min() - room, everything.max() + room, GRID)
    for values, colour, dashes in (
        (truth, ORACLE, None),
        (before, BEFORE, (4, 2)),
        (after, AFTER, ()),
    ):
        style = {"color": colour, "linewidth": 1.4, "linestyle": (0, dashes or ())}
        if len(values) < FEWEST_FOR_CURVE:
            axes.vlines(values, 0, 0.95, **style)
        elif dashes is None:
            axes.fill_between(grid, density(values, grid), color=ORACLE, alpha=0.4, linewidth=0)
        else:
            axes.plot(grid, density(values, grid), **style)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(0, 1.05)
    axes.set_xlim(grid[0], grid[-1])


def _changes(before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> str:
    said, true = (float(x.mean() - before.mean()) for x in (after, truth))
    return f"predicted {_signed(said)}, true {_signed(true)}"


def _signed(value: float) -> str:
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return sign + number(abs(value))


def _keys() -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=BEFORE, linestyle=(0, (4, 2)), label="original"),
        Line2D([], [], color=AFTER, label="predicted"),
        Patch(color=ORACLE, alpha=0.4, linewidth=0, label="retrained"),
    ]


def _check(
    null: Tensor, shifted: Tensor, oracle: Tensor, rows: Sequence[int], names: Sequence[str]
) -> None:
    check_margins(null, oracle)
    check_margins(shifted, oracle)
    known = oracle.shape[1]
    if not 1 <= len(rows) <= MOST or not all(0 <= row < known for row in rows):
        raise BadInput(
            f"rows {list(rows)} to draw",
            expected=f"1 to {MOST} numbers from 0 to {known - 1}",
            fix="leave the choice to `choose`",
        )
    if len(names) != len(rows):
        raise BadInput(
            f"{len(names)} names for {len(rows)} rows",
            expected="one each",
            fix="name the rows in the order in which they are drawn",
        )


def _label(groups: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for index, name in enumerate(names):
        before, after, truth = (number(float(group[:, index].mean())) for group in groups)
        parts.append(f"{name}: mean margin {before}, predicted {after}, retrained {truth}")
    return f"Margins before, as predicted without the rows, and retrained. {'; '.join(parts)}."
