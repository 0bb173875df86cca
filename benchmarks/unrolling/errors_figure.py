"""The figures of `errors.py`: both errors along the steps, against each other, and by gamma."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from expunge import store
from expunge.report.figure.canvas import COLOURS, MARKERS, look, panel_title, svg


def draw(details: Path, rate: float) -> None:
    """Draw the runs in a file into its folder."""
    runs: list[dict[str, Any]] = json.loads(details.read_text())
    with look("unrolling"):
        figure = Figure(figsize=(9.6, 3.3))
        at_rate = [run for run in runs if run["rate"] == rate]
        plain = [run for run in runs if run["gamma"] == 0]
        for k, (chosen, by, title) in enumerate(
            (
                (at_rate, "gamma", f"SD penalty, rate {rate:g}"),
                (plain, "rate", "Learning rate, no penalty"),
            )
        ):
            axes = figure.add_axes((0.07 + 0.335 * k, 0.15, 0.25, 0.68))
            against(axes, chosen, by, "strict")
            panel_title(axes, title, "one mark a look, one line a training")
        axes = figure.add_axes((0.735, 0.15, 0.25, 0.68))
        by_gamma(axes, at_rate)
        panel_title(axes, "What the penalty costs", "at the end, mean and two errors")
        store.write_bytes(
            details.with_name("errors.svg"),
            svg(figure, "unrolling", "Verification error against unlearning error").encode(),
        )


def against(axes: Any, runs: list[dict[str, Any]], by: str, form: str) -> None:
    """Verification error against a form, a colour for each rate or gamma."""
    for k, run in enumerate(runs):
        for j, training in enumerate(run["trainings"]):
            x, y = ([one[n] for one in training["measurements"]] for n in (form, "verification"))
            style = {"color": COLOURS[k % len(COLOURS)], "linewidth": 0.6, "markersize": 3}
            name = f"{by} {run[by]:g}" if j == 0 else None
            axes.plot(x, y, marker=MARKERS[k % len(MARKERS)], label=name, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    axes.set_xlabel(f"unlearning error, {form} form")
    axes.set_ylabel("verification error")
    axes.legend(fontsize=7.5, handlelength=1.2)


def plain_numbers(axis: Any) -> None:
    """Powers of ten as numbers, without formulae."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def by_gamma(axes: Any, runs: list[dict[str, Any]]) -> None:
    """Verification error and accuracy at the end, a mark for each gamma."""
    for k, run in enumerate(runs):
        last = [training["measurements"][-1] for training in run["trainings"]]
        (x, dx), (y, dy) = (spread([one[n] for one in last]) for n in ("accuracy", "verification"))
        style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        axes.errorbar(x, y, dy, dx, markersize=5, elinewidth=0.8, linestyle="", **style)
        axes.annotate(f"{run['gamma']:g}", (x, y), (5, 4), textcoords="offset points", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("accuracy on test rows, %")
    axes.set_ylabel("verification error")


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and two standard errors."""
    n, mean = len(values), sum(values) / len(values)
    return mean, 2 * (sum((v - mean) ** 2 for v in values) / max(1, n - 1) / n) ** 0.5
