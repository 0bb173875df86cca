"""When to stop: how likely each row's margin is under retraining, over the steps of a run.

After Figures 2 and 5 of the Datamodel Matching paper (Georgiev et al. 2024, arXiv 2410.23232): rows
move towards the retrained models at different speeds, so that no step suits all of them; those that
pass by are red. Differs: what retrained models themselves score is a band.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from expunge.errors import BadInput
from expunge.report.figure.canvas import AFTER, ORACLE, look, panel_title, shorten, svg
from expunge.report.words import number

OVER = "#b3261e"
MOST_ROWS, MOST_STEPS = 40, 100  # of each colour in a panel; of more, evenly spaced ones
DEEP = 60.0  # nats below 0 from which the axis is compressed: one row would press all others up
LINEAR = 5.0  # nats that a compressed axis leaves as they are
PANEL = 2.9, 2.2  # inches
LEFT, TOP, BOTTOM = 0.72, 0.5, 0.52  # inches around a panel
CAPTION = (
    "How likely each forgotten row’s margin is among retrained models, step by step; high is "
    "better, up to the grey band that nine in ten retrained models are in. A thin line is a row. "
    "Red rows pass the retrained models: for them the run should have stopped before."
)


@dataclass(frozen=True)
class Run:
    """One run of one method.

    Attributes:
        steps: (T,) numbers of steps, rising.
        loglik: (T, rows) log-density in nats of each row's margin under its oracles.
        overshoots: (rows,) bool: the row's margin passes that of the oracles at some step.
    """

    steps: ArrayLike
    loglik: ArrayLike
    overshoots: ArrayLike


def stopping(
    runs: Mapping[str, Run], band: tuple[float, float], title: str, *, columns: int = 2
) -> str:
    """Log-likelihood over steps as SVG: a panel a method side by side, on one axis.

    Args:
        runs: by method, in order from left to right.
        band: (low, high) log-density in nats of a typical oracle under the others.
        title: what was run; said to those who do not see the figure.
        columns: panels side by side; 1 suits a narrow window.

    Returns:
        One `<svg>` element; equal input gives equal bytes.

    Raises:
        BadInput: no run, shapes that do not fit, or a number that is not finite.
    """
    name = f"stopping-{columns}"
    with look(name):
        figure = draw_stopping(runs, band, columns=columns)
        return svg(figure, name, _label(title, runs, band))


def draw_stopping(
    runs: Mapping[str, Run], band: tuple[float, float], *, columns: int = 2
) -> Figure:
    """The figure of `stopping`, for a file of another kind; arguments and errors as there."""
    read = {method: _read(method, run) for method, run in runs.items()}
    if not read or not all(map(np.isfinite, band)) or band[0] > band[1]:
        raise BadInput(
            f"{len(read)} runs and the band {band}",
            expected="at least one run, and a band of two finite numbers, the lower one first",
            fix="record at least one run, and take the band from `audit.stopping.oracle_band`",
        )
    across = min(columns, len(read))
    rows = ceil(len(read) / across)
    wide, tall = PANEL[0] + 0.25, TOP + PANEL[1] + BOTTOM
    everything = np.concatenate([loglik.ravel() for _, loglik, _ in read.values()])
    low, high = min(everything.min(), band[0]), max(everything.max(), band[1])
    with look(f"stopping-{columns}"):
        keys = 4 if columns > 1 else 2  # side by side, below the panels
        size = LEFT + wide * columns, tall * rows + 0.25 * 4 / keys
        figure = Figure(figsize=size)
        for index, (method, run) in enumerate(read.items()):
            row, column = divmod(index, across)
            left, top = LEFT + wide * column, TOP + tall * row
            axes = figure.add_axes(
                (
                    left / size[0],
                    1 - (top + PANEL[1]) / size[1],
                    PANEL[0] / size[0],
                    PANEL[1] / size[1],
                )
            )
            axes.axhspan(*band, color=ORACLE, alpha=0.35, linewidth=0, zorder=0)
            _curves(axes, *run)
            _height(axes, float(low), float(high))
            axes.set_xlabel("step")
            if column == 0:
                axes.set_ylabel("log-likelihood (nats)")
            else:
                axes.tick_params(labelleft=False)
            over = run[2].sum()
            panel_title(axes, shorten(method), f"{over} of {len(run[2])} rows overshoot")
        figure.legend(handles=_keys(), loc="lower left", ncols=keys, fontsize=8, borderpad=0)
        return figure


def _curves(axes: Axes, steps: np.ndarray, loglik: np.ndarray, over: np.ndarray) -> None:
    """Thin lines of rows, and a thick one for the median of each colour."""
    kept = np.unique(np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int))
    x = steps[kept]
    for colour, chosen, level in ((AFTER, ~over, 2.0), (OVER, over, 3.0)):
        curves = loglik[kept][:, chosen]
        if curves.shape[1] == 0:
            continue
        rank = np.argsort(curves[-1], kind="stable")
        thin = rank[np.unique(np.linspace(0, len(rank) - 1, MOST_ROWS).round().astype(int))]
        # One path with gaps, not a path a row: a page may hold thousands of them.
        joined = np.concatenate([curves[:, thin], np.full((1, len(thin)), np.nan)]).T.ravel()
        across = np.tile(np.append(x, np.nan), len(thin))
        axes.plot(across, joined, color=colour, linewidth=0.5, alpha=0.35, zorder=level)
        median = np.median(curves, axis=1)
        axes.plot(x, median, color="white", linewidth=3.4, zorder=level + 2)
        axes.plot(x, median, color=colour, linewidth=2.0, zorder=level + 2)
    axes.set_xlim(x[0], x[-1] if x[-1] > x[0] else x[0] + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _height(axes: Axes, low: float, high: float) -> None:
    """The axis that all panels share."""
    if low > -DEEP:
        margin = 0.05 * ((high - low) or 1.0)
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        return
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=0.8)
    axes.set_ylim(1.5 * low, high + 1)
    decades = range(1, ceil(np.log10(-1.5 * low)))
    axes.yaxis.set_major_locator(FixedLocator([0.0, *(-(10.0**decade) for decade in decades)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))
    axes.yaxis.set_minor_locator(NullLocator())


def _short(value: float) -> str:
    """A tick that fits beside the axis, e.g. −100k."""
    text = f"{value / 1000:.0f}k" if abs(value) >= 1000 else f"{value:.0f}"
    return text.replace("-", "−")


def _read(method: str, run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The run's arrays: (T,) steps, (T, rows) log-densities, (rows,) bool."""
    steps, loglik = np.asarray(run.steps), np.asarray(run.loglik, dtype=float)
    over = np.asarray(run.overshoots)
    shapes = steps.shape, loglik.shape, over.shape
    fits = loglik.ndim == 2 and loglik.size and shapes[0] + shapes[2] == loglik.shape
    if (
        not fits
        or over.dtype != bool
        or not np.isfinite(loglik).all()
        or (np.diff(steps) < 0).any()
    ):
        raise BadInput(
            f"{method}: steps, loglik and overshoots of shapes {shapes}, the last of {over.dtype}",
            expected="(T,) rising, (T, rows) finite and (rows,) bool, at least one of each",
            fix="average over members first: one curve a row",
        )
    return steps, loglik, over


def _keys() -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=AFTER, label="rows"),
        Line2D([], [], color=OVER, label="rows that overshoot"),
        Line2D([], [], color=ORACLE, linewidth=3, label="thick: median"),
        Patch(color=ORACLE, alpha=0.35, linewidth=0, label="retrained models"),
    ]


def _label(title: str, runs: Mapping[str, Run], band: tuple[float, float]) -> str:
    """The figure in words, for those who do not see it."""
    parts = []
    for method, run in runs.items():
        steps, loglik, over = _read(method, run)
        first, last = (number(float(np.median(loglik[t]))) for t in (0, -1))
        parts.append(
            f"{method}: median {first} at step {steps[0]}, {last} at step {steps[-1]}; "
            f"{over.sum()} of {len(over)} rows overshoot"
        )
    return (
        f"{title}. Log-likelihood in nats of each row's margin under models retrained without it; "
        f"nine in ten of these score {number(band[0])} to {number(band[1])}. {'. '.join(parts)}."
    )
