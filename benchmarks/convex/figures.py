"""The figures of `theorems.py`, from its result file alone."""

from collections.abc import Iterable, Sequence
from math import log10
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from expunge import store
from expunge.report.figure.canvas import COLOURS, FAINT, MUTED, look, panel_title, svg

Found = dict[str, Any]
WIDE, HIGH = 2.75, 2.1  # inches of a panel's axes
DASHED = (0, (4, 2))
ERROR = "distance to the retrained optimum"
LEGEND = {
    "ridge descent": (COLOURS[1], "ridge descent on the retained rows"),
    "SGD": (COLOURS[1], "SGD on the retained rows"),
    "ascent-descent": (COLOURS[3], "ascent-descent"),
    "matching": (COLOURS[0], "oracle matching on all rows"),
    "matching, forget + 1x": (COLOURS[4], "forgotten + 1 x retained"),
    "matching, forget + 3x": (COLOURS[2], "forgotten + 3 x"),
    "matching, forget + 20x": (COLOURS[7], "forgotten + 20 x"),
}
TITLES = {
    "rare": ("Rare", "each forgotten row has a feature of its own"),
    "rare alone": ("Rare, nothing else", "and next to no other feature"),
    "isotropic": ("Isotropic", "forgotten rows are like all others"),
}
BATCH = ["ridge descent", "ascent-descent", "matching"]
FEW = ["matching, forget + 1x", "matching, forget + 3x", "matching, forget + 20x", "matching"]


def draw(found: Found, folder: Path) -> None:
    """Write every figure into the folder."""
    batch, row = found["full_batch"], found["row_by_row"]
    made = {
        "all-rows": curves("all-rows", batch, ["rare", "isotropic"], BATCH),
        "few-rows": curves("few-rows", batch, ["rare", "rare alone", "isotropic"], FEW),
        "row-by-row": curves("row-by-row", row, ["rare", "isotropic"], ["SGD", "matching"]),
        "rarity": rarity(found["steps_to_one_percent"]["rare"]),
        "influence": influence(found["left_out"]["longer"]),
    }
    for name, text in made.items():
        store.write_bytes(folder / f"{name}.svg", f"{text}\n".encode())


def curves(name: str, found: Found, designs: Sequence[str], methods: Sequence[str]) -> str:
    """Error against steps, a panel a design: the mean over seeds in log, and the whole range."""
    with look(name):
        figure, panels = _panels(len(designs), key_rows=1)
        for axes, design in zip(panels, designs, strict=True):
            for method in methods:
                # two lines may be one: the wider shows beside the one above it
                width = 2.6 if method == "ridge descent" else 1.3
                _line(axes, found[design][method], LEGEND[method][0], width)
            if "predicted cloud" in found[design]:
                level = 10 ** found[design]["predicted cloud"]["mean"]
                axes.axhline(level, color=MUTED, linewidth=1, linestyle=DASHED, zorder=4)
            axes.axhline(1, color=FAINT, linewidth=0.6, zorder=0)
            panel_title(axes, *TITLES[design])
            axes.set(xscale="log", yscale="log", ylim=(1e-16, 1e4), xlabel="steps")
            steps = found[design][methods[0]]["steps"]
            decades = range(0, 7, 2 if steps[-1] > 1e5 else 1)
            axes.set_xticks(*_ticks(10**k for k in decades if 10**k <= steps[-1]))
            axes.set_yticks(*_ticks(10.0**k for k in range(-15, 4, 3)))
            _no_minor(axes)
        panels[0].set_ylabel(ERROR)
        keys = [Line2D([], [], color=LEGEND[m][0], label=LEGEND[m][1]) for m in methods]
        if "predicted cloud" in found[designs[0]]:
            keys.append(Line2D([], [], color=MUTED, linestyle=DASHED, label="SGD as predicted"))
        figure.legend(handles=keys, loc="lower left", ncols=len(keys), fontsize=8, borderpad=0.2)
        return svg(figure, name, f"{ERROR} by step: " + "; ".join(_last(found, designs, methods)))


def rarity(found: dict[str, list[Found]]) -> str:
    """Steps that matching needs relative to ridge descent, against rarity, for two penalties."""
    with look("rarity"):
        figure, (axes,) = _panels(1, key_rows=1)
        x = [e["scale"] for e in next(iter(found.values()))]
        for (l2, entries), colour in zip(found.items(), (COLOURS[0], COLOURS[1]), strict=True):
            _band(axes, x, [e["ratio"] for e in entries], colour, "o")
            axes.plot(x, [e["predicted"] for e in entries], color=MUTED, linestyle=DASHED, zorder=4)
            place = (x[-1], entries[-1]["ratio"]["mean"])
            axes.annotate(f"l2 = {l2}", place, (4, 7), textcoords="offset points", color=colour)
        axes.axhline(1, color=FAINT, linewidth=0.6, zorder=0)
        panel_title(axes, "Where matching gains", "steps to 1 %, matching over ridge descent")
        axes.set(xscale="log", yscale="log", ylim=(0.07, 7))
        axes.set_xlabel("size of retained rows in the rare features")
        axes.set_xticks(*_ticks(x))
        axes.set_yticks(*_ticks((0.1, 0.3, 1, 3)))
        _no_minor(axes)
        keys = [Line2D([], [], color=MUTED, linestyle=DASHED, label="ratio of curvatures")]
        figure.legend(handles=keys, loc="lower left", fontsize=8, borderpad=0.2)
        said = (
            f"l2 {l2}: " + ", ".join(f"{e['scale']:g} {e['ratio']['mean']:.2f}" for e in entries)
            for l2, entries in found.items()
        )
        return svg(figure, "rarity", "Steps of matching over ridge descent. " + "; ".join(said))


def influence(entries: list[Found]) -> str:
    """Error of the exact formula and of first-order influence, against the forgotten rows' size."""
    with look("influence"):
        figure, (axes,) = _panels(1, key_rows=2)
        x = [e["size"] for e in entries]
        kinds = (("influence", COLOURS[1]), ("formula", COLOURS[0]))
        for kind, colour in kinds:
            _band(axes, x, [_powers(e[kind]) for e in entries], colour, "o")
        level = [e["leverage"]["mean"] for e in entries]
        axes.plot(x, level, color=MUTED, linestyle=DASHED, zorder=4)
        panel_title(axes, "Leaving five rows out", "distance to the retrained optimum")
        axes.set(xscale="log", yscale="log", ylim=(1e-16, 10))
        axes.set_xlabel("length of forgotten rows, others = 1")
        axes.set_xticks(*_ticks(x))
        axes.set_yticks(*_ticks(10.0**k for k in range(-15, 1, 3)))
        _no_minor(axes)
        words = ("first-order influence", "exact formula")
        keys = [Line2D([], [], color=k[1], label=w) for k, w in zip(kinds, words, strict=True)]
        keys.append(Line2D([], [], color=MUTED, linestyle=DASHED, label="mean leverage"))
        figure.legend(handles=keys, loc="lower left", ncols=2, fontsize=8, borderpad=0.2)
        said = ", ".join(f"{e['size']:g}: {10 ** e['influence']['mean']:.2g}" for e in entries)
        return svg(figure, "influence", f"Error of first-order influence by length: {said}")


def _panels(count: int, key_rows: int) -> tuple[Figure, list[Axes]]:
    """Panels in a row, with room for keys below."""
    width, height = (WIDE + 0.75) * count + 0.1, HIGH + 1.0 + 0.22 * key_rows
    figure = Figure(figsize=(width, height))
    low = (0.48 + 0.22 * key_rows) / height
    lefts = [(0.65 + (WIDE + 0.75) * k) / width for k in range(count)]
    boxes = [(left, low, WIDE / width, HIGH / height) for left in lefts]
    return figure, [figure.add_axes(box) for box in boxes]


def _line(axes: Axes, found: Found, colour: str, width: float) -> None:
    points = [
        _powers({side: found[side][k] for side in ("low", "mean", "high")})
        for k in range(len(found["steps"]))
    ]
    _band(axes, found["steps"], points, colour, width=width)


def _band(
    axes: Axes, x: list, points: list[Found], colour: str, marker: str = "", width: float = 1.3
) -> None:
    """A line through means, in a band from low to high."""
    low, mean, high = ([point[k] for point in points] for k in ("low", "mean", "high"))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, mean, color=colour, marker=marker, markersize=4, linewidth=width)


def _ticks(places: Iterable[float]) -> tuple[list[float], list[str]]:
    """Places with plain numbers beside them: the look does not set formulas."""
    places = list(places)
    return places, [f"{v:,g}" if 1e-3 < v < 1e6 else f"1e{round(log10(v))}" for v in places]


def _no_minor(axes: Axes) -> None:
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())


def _powers(log: Found) -> Found:
    return {side: 10**value for side, value in log.items()}


def _last(found: Found, designs: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Every line's end in words, for those who do not see the figure."""
    return [
        f"{design}, {LEGEND[method][1]}: {10 ** found[design][method]['mean'][-1]:.2g}"
        for design in designs
        for method in methods
    ]
