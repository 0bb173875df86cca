"""The table and the figure of `klom.py`: KLoM by recipe, beside both errors."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.unrolling.errors_figure import plain_numbers
from expunge import store
from expunge.report.figure.canvas import COLOURS, MARKERS, look, panel_title, svg


def draw(path: Path) -> None:
    """Write a table (Markdown) and a figure (SVG) beside a result file."""
    recipes: list[dict[str, Any]] = json.loads(path.read_text())["recipes"]
    store.write_bytes(path.with_suffix(".md"), table(recipes).encode())
    store.write_bytes(path.with_suffix(".svg"), figure(recipes).encode())


def table(recipes: list[dict[str, Any]]) -> str:
    """A line a recipe; two standard errors behind each number."""
    methods = list(recipes[0]["klom"])
    heads = ["recipe", *(f"KLoM {name}" for name in methods)]
    heads += ["verification error", "strict", "sd of logits", "accuracy, %"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " + "| ---: " * (len(heads) - 1) + "|"]
    for one in recipes:
        cells = [named(one), *(shown(*one["klom"][name]) for name in methods)]
        cells += [shown(*one[n]) for n in ("verification", "strict", "spread", "accuracy")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(recipes: list[dict[str, Any]]) -> str:
    """KLoM of each method against the unlearning error; filled marks: the gammas."""
    with look("unrolling-klom"):
        drawn = Figure(figsize=(6.6, 3.6))
        axes = drawn.add_axes((0.09, 0.14, 0.62, 0.7))
        for k, name in enumerate(recipes[0]["klom"]):
            x = [one["strict"][0] for one in recipes]
            y, se = zip(*(one["klom"][name] for one in recipes), strict=True)
            style = {"color": COLOURS[k], "marker": MARKERS[k], "markersize": 4, "elinewidth": 0.7}
            axes.errorbar(x, y, [2 * e for e in se], linestyle="", label=name, **style)
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("unlearning error, strict form")
        axes.set_ylabel("KLoM, nats")
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
        panel_title(axes, "Does the proxy predict KLoM?", "a mark a recipe and method, two errors")
        return svg(drawn, "unrolling-klom", "KLoM of each method against the unlearning error")


def named(one: dict[str, Any]) -> str:
    """The recipe in a few words."""
    own = {name: one[name] for name in ("rate", "epochs") if name in one}
    words = [f"gamma {one['gamma']:g}", *(f"{name} {value:g}" for name, value in own.items())]
    return ", ".join(words)


def shown(value: float, se: float) -> str:
    """A number with two standard errors."""
    return f"{value:.3g} ±{2 * se:.2g}"
