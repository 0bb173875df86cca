"""When to stop: how likely each row's margin is under retraining, over the steps of a run.

After Figures 2 and 5 of the Datamodel Matching paper (Georgiev et al. 2024, arXiv 2410.23232): rows
move towards the retrained models at different speeds, so that no step suits all of them; those that
pass by are red. Differs: what retrained models themselves score is a band.
"""

from collections.abc import Mapping
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from expunge.report.figure.canvas import AFTER, ORACLE, drawing, panel_title, shorten
from expunge.report.figure.panels import panels, ticks
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


class Run:
    """One run of one method.

    Args:
        steps: (T,) numbers of steps, rising.
        loglik: (T, rows) log-density in nats of each row's margin under its oracles.
        overshoots: (rows,) bool: the row's margin passes that of the oracles at some step.
    """

    def __init__(self, steps: ArrayLike, loglik: ArrayLike, overshoots: ArrayLike) -> None:
        self.steps, self.loglik = np.asarray(steps), np.asarray(loglik, dtype=float)
        self.overshoots = np.asarray(overshoots)


@drawing
def stopping(
    runs: Mapping[str, Run], band: tuple[float, float], title: str, *, columns: int = 2
) -> tuple[Figure, str]:
    """Log-likelihood over steps: a panel a method side by side, on one axis.

    Args:
        runs: by method, in order from left to right; at least one.
        band: (low, high) log-density in nats of a typical oracle under the others.
        title: what was run, for those who do not see the figure.
        columns: panels side by side; 1 suits a narrow window.
    """
    low = min(band[0], *(run.loglik.min() for run in runs.values()))
    high = max(band[1], *(run.loglik.max() for run in runs.values()))
    keys = 4 if columns > 1 else 2  # side by side, below the panels
    cell, more = (PANEL[0] + 0.25, TOP + PANEL[1] + BOTTOM), (LEFT, 0.25 * 4 / keys)
    figure, made = panels(len(runs), columns, cell, (LEFT, TOP), PANEL, more)
    for index, (axes, (method, run)) in enumerate(zip(made, runs.items(), strict=True)):
        axes.axhspan(*band, color=ORACLE, alpha=0.35, linewidth=0, zorder=0)
        _curves(axes, run)
        _height(axes, float(low), float(high))
        axes.set_xlabel("step")
        if index % columns == 0:
            axes.set_ylabel("log-likelihood (nats)")
        else:
            axes.tick_params(labelleft=False)
        over = f"{run.overshoots.sum()} of {len(run.overshoots)} rows overshoot"
        panel_title(axes, shorten(method), over)
    figure.legend(handles=_keys(), loc="lower left", ncols=keys, fontsize=8, borderpad=0)
    return figure, _label(title, runs, band)


def _curves(axes: Axes, run: Run) -> None:
    """Thin lines of rows, and a thick one for the median of each colour."""
    steps, loglik, over = run.steps, run.loglik, run.overshoots
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
    ticks(axes.yaxis, [0.0, *(-(10.0**decade) for decade in decades)], _short)


def _short(value: float) -> str:
    """A tick that fits beside the axis, e.g. −100k."""
    text = f"{value / 1000:.0f}k" if abs(value) >= 1000 else f"{value:.0f}"
    return text.replace("-", "−")


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
        first, last = (number(float(np.median(run.loglik[t]))) for t in (0, -1))
        parts.append(
            f"{method}: median {first} at step {run.steps[0]}, {last} at step {run.steps[-1]}; "
            f"{run.overshoots.sum()} of {len(run.overshoots)} rows overshoot"
        )
    return (
        f"{title}. Log-likelihood in nats of each row's margin under models retrained without it; "
        f"nine in ten of these score {number(band[0])} to {number(band[1])}. {'. '.join(parts)}."
    )
