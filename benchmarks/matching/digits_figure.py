"""The figure of `digits.py`, from its result file alone: KLoM against half-data models."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from expunge import store
from expunge.report.figure.canvas import COLOURS, FAINT, MUTED, look, panel_title, svg

WIDE, HIGH = 2.6, 1.9  # inches of a panel's axes
CURVES = {"dmm, datamodels": COLOURS[0], "dmm, combined": COLOURS[2]}
LEVELS = {
    "original": (MUTED, (0, (1, 1.5)), "do nothing"),
    "dmm, linearised": (COLOURS[1], (0, (4, 2)), "dmm, linearised: no half-data models"),
    "oracle-matching": (FAINT, (0, ()), "oracle matching: a perfect prediction"),
}
NAME = "half-data-models"
Found = dict[str, dict[str, list[float] | None]]  # by forget set and label: KLoM and its error


def draw(klom: Found, folder: Path) -> None:
    """Write the figure into the folder."""
    with look(NAME):
        lines = -(-len(klom) // 2)
        figure = Figure(figsize=(2 * (WIDE + 0.75), lines * (HIGH + 0.95) + 0.6))
        width, height = figure.get_size_inches()
        for k, (name, found) in enumerate(klom.items()):
            left = (k % 2) * (WIDE + 0.75) + 0.6
            top = (k // 2) * (HIGH + 0.95) + 0.4
            box = (left / width, 1 - (top + HIGH) / height, WIDE / width, HIGH / height)
            axes = figure.add_axes(box)
            panel(axes, name, found)
        keys = [
            Line2D([], [], color=c, marker="o", markersize=3, label=n) for n, c in CURVES.items()
        ]
        keys += [Line2D([], [], color=c, linestyle=d, label=t) for c, d, t in LEVELS.values()]
        figure.legend(handles=keys, loc="lower left", ncols=2, fontsize=8, borderpad=0)
        label = "KLoM against the number of half-data models, a panel a forget set"
        store.write_bytes(folder / f"{NAME}.svg", f"{svg(figure, NAME, label)}\n".encode())


def panel(axes: Axes, name: str, found: dict[str, list[float] | None]) -> None:
    """One forget set: curves with two standard errors each way, and levels."""
    for label, (colour, dashes, _) in LEVELS.items():
        level = found.get(label)
        if level:
            axes.axhline(level[0], color=colour, linestyle=dashes, linewidth=1.2, zorder=1)
    for start, colour in CURVES.items():
        points = sorted(
            (int(label.rpartition(" ")[2]), score)
            for label, score in found.items()
            if label.rpartition(" ")[0] == start and score
        )
        x, y = [count for count, _ in points], [score[0] for _, score in points]
        errors = [2 * score[1] for _, score in points]
        axes.errorbar(x, y, errors, color=colour, marker="o", markersize=3, linewidth=1.3)
    panel_title(axes, name[:1].upper() + name[1:])
    counts = [250, 500, 1000, 2000, 4000]
    axes.set(xscale="log", ylim=(0, None), xlabel="half-data models", ylabel="KLoM, mean of three")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
