"""Unrolling: verification error along a training, and against the proxy that foretells it.

After the figures of Thudi et al. 2022, arXiv 2109.13398.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from expunge.report.figure.canvas import AFTER, BEFORE, MUTED, drawing, panel_title
from expunge.report.words import number

Looks = Sequence[Mapping[str, Any]]


@drawing
def along(measurements: Looks) -> tuple[Figure, str]:
    """Distances in weights by number of steps: means over members, and each member as a thin line.

    Args:
        measurements: as `verification_error.json` has them.
    """
    steps = [one["steps"] for one in measurements]
    figure = Figure(figsize=(6.6, 3.0))
    axes = figure.add_axes((0.11, 0.17, 0.86, 0.66))
    for name, colour, dashes, said in (
        ("nothing", BEFORE, (4, 2), "the model as it is"),
        ("verification", AFTER, (), "after single-gradient unlearning"),
    ):
        members = list(zip(*(one[name] for one in measurements), strict=True))
        for member in members:
            axes.plot(steps, member, color=colour, linewidth=0.5, alpha=0.3)
        means = [_mean(one, name) for one in measurements]
        style = {"color": colour, "linewidth": 1.6, "linestyle": (0, dashes)}
        axes.plot(steps, means, label=said, **style)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("steps of training")
    axes.set_ylabel("L2 distance of weights")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=0)
    axes.legend(loc="best")
    panel_title(
        axes,
        "How far from naive retraining",
        f"verification error, {len(measurements[0]['verification'])} trainings and their mean",
    )
    last = measurements[-1]
    return figure, (
        f"Verification error by steps; at the end {number(_mean(last, 'verification'))} after "
        f"single-gradient unlearning, {number(_mean(last, 'nothing'))} without."
    )


@drawing
def against(measurements: Looks, form: str = "strict") -> tuple[Figure, str]:
    """The verification error against the unlearning error; a mark for each member and look.

    Args:
        measurements: as `verification_error.json` has them.
        form: "strict", "paper" or "code".
    """
    figure = Figure(figsize=(4.4, 3.4))
    axes = figure.add_axes((0.16, 0.15, 0.66, 0.68))
    x, y, shade = [], [], []
    for one in measurements:
        x += one[form]
        y += one["verification"]
        shade += [one["steps"]] * len(one[form])
    marks = axes.scatter(x, y, c=shade, s=14, cmap="viridis", linewidths=0)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"unlearning error, {form} form")
    axes.set_ylabel("verification error")
    bar = figure.colorbar(marks, cax=figure.add_axes((0.86, 0.15, 0.025, 0.68)))
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_label("steps", color=MUTED)
    panel_title(axes, "What the proxy foretells", "a mark for each training and look")
    return figure, f"Verification error against {form} form."


@drawing
def tracked(measurements: Looks) -> tuple[Figure, str]:
    """The unlearning error along one training, and the two factors that change.

    Args:
        measurements: as `unlearning_error.json` has them.
    """
    steps = [one["steps"] for one in measurements]
    panels = (
        ("strict", "Unlearning error", "strict form"),
        ("distance", "Way gone", "L2 distance from the start"),
        ("sigma", "Curvature", "of the Hessian, mean so far"),
    )
    figure = Figure(figsize=(7.4, 2.5))
    for k, (name, title, detail) in enumerate(panels):
        axes = figure.add_axes((0.085 + 0.325 * k, 0.2, 0.24, 0.56))
        axes.plot(steps, [one[name] for one in measurements], color=AFTER, marker="o", markersize=3)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter("{x:g}")  # short, whatever the size
        axes.set_xlabel("steps of training")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel_title(axes, title, detail)
    end = number(measurements[-1]["strict"])
    return figure, f"Unlearning error by steps; at the end {end}."


def _mean(one: Mapping[str, Any], name: str) -> float:
    return sum(one[name]) / len(one[name])
