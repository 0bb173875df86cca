"""The figure and the table of `run.py`, from its result file alone."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expunge import store
from expunge.report.figure.canvas import COLOURS, FAINT, look, panel_title, svg

WIDE, LINE, LEFT = 1.55, 0.2, 2.3  # inches: of a panel, of an attributor, of their names
NAME = "attributors"


def draw(content: dict[str, Any], folder: Path) -> None:
    """Write the figure and the table into the folder."""
    store.write_bytes(folder / "table.md", table(content).encode())
    found = content["scores"]
    names = list(next(iter(found.values()))["scores"])
    with look(NAME):
        figure = Figure(figsize=(LEFT + len(found) * (WIDE + 0.2), len(names) * LINE + 0.95))
        width, height = figure.get_size_inches()
        for k, (family, entry) in enumerate(found.items()):
            left = (LEFT + k * (WIDE + 0.2)) / width
            box = (left, 0.5 / height, WIDE / width, len(names) * LINE / height)
            axes = figure.add_axes(box)
            panel(axes, family, entry, names)
            axes.set_yticks(range(len(names)), names if k == 0 else [""] * len(names))
        label = "LDS of each attributor, a panel a family of sets; grey: the noise's ceiling"
        store.write_bytes(folder / f"{NAME}.svg", f"{svg(figure, NAME, label)}\n".encode())


def panel(axes: Axes, family: str, entry: dict[str, Any], names: list[str]) -> None:
    """One family: scores with two standard errors each way, and the ceiling behind them."""
    ceiling = entry["ceiling"]
    axes.axvspan(ceiling["low"], ceiling["high"], color=FAINT, alpha=0.25, linewidth=0)
    axes.axvline(ceiling["value"], color=FAINT, linewidth=1)
    for place, name in enumerate(names):
        lds = entry["scores"][name]["lds"]
        colour = COLOURS[1 if " " in name else 0]  # names of libraries' attributors have a space
        error = [[lds["value"] - lds["low"]], [lds["high"] - lds["value"]]]
        axes.errorbar(lds["value"], place, xerr=error, color=colour, marker="o", markersize=3)
    axes.set(xlim=(-0.2, 1), ylim=(len(names) - 0.5, -0.5), xlabel="LDS")
    panel_title(axes, family[:1].upper() + family[1:])


def table(content: dict[str, Any]) -> str:
    """A line an attributor: LDS, slope and error by family, and seconds, in Markdown."""
    found = content["scores"]
    families = list(found)
    heads = [f"{family}: LDS / slope / error" for family in families]
    lines = [
        "| " + " | ".join(["", *heads, "s, one set", "s, all sets"]) + " |",
        "| --- |" + " ---: |" * (len(heads) + 2),
        "| ceiling | " + " | ".join(_pm(found[f]["ceiling"]) for f in families) + " | | |",
    ]
    for name, entry in content["attributors"].items():
        if "not_measured" in entry:
            lines.append(f"| {name} | {entry['not_measured']} |" + " |" * (len(heads) + 1))
            continue
        cells = [_cell(found[family]["scores"][name]) for family in families]
        for key in ("seconds_one_set", "seconds_all_sets"):
            cells.append(f"{sum(entry[key]) / len(entry[key]):.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(scores: dict[str, Any]) -> str:
    slope, error = scores["slope"], scores["error_over_truth"]
    told = "-" if slope is None else _pm(slope)
    return f"{_pm(scores['lds'])} / {told} / {'-' if error is None else f'{error:.2f}'}"


def _pm(of: dict[str, float]) -> str:
    return f"{of['value']:.2f} ±{(of['high'] - of['low']) / 2:.2f}"
