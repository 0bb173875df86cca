"""The figure of `run.py`: what checkpoints and failures add, and how long a queue takes."""

from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.scale.cluster_queue import Queue, best_interval, makespan, overhead, simulate
from expunge import store
from expunge.report.figure.canvas import COLOURS, MARKERS, look, panel_title, svg

RUNS = 20  # simulations of each mark


def draw(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Draw the queues of a result file."""
    with look("scale"):
        label = "Overhead by checkpoint interval, and days by number of GPUs"
        store.write_bytes(path, svg(figure(rows), "scale", label).encode())


def figure(rows: dict[str, dict[str, Any]]) -> Figure:
    """Overhead by the time between checkpoints, and the makespan by the number of workers."""
    known = {f.name for f in fields(Queue)}
    queues = {n: Queue(**{k: v for k, v in one.items() if k in known}) for n, one in rows.items()}
    spot = queues["on 32 GPUs, taken back once a day"]
    large = queues["10 oracles of 7B, 64 GPUs each, kept"]
    steady = queues["300 ResNet-50 on 32 GPUs, steady, kept"]
    drawn = Figure(figsize=(9.6, 3.6))
    axes = drawn.add_axes((0.085, 0.15, 0.39, 0.66))
    by_interval(axes, {"ResNet-50, a GPU each, spot": spot, "7B, 64 GPUs each": large})
    panel_title(axes, "What checkpoints and failures add", "lines: formula; marks: simulated")
    axes = drawn.add_axes((0.575, 0.15, 0.39, 0.66))
    nothing = queues["and nothing kept"]
    by_workers(axes, {"steady, kept": steady, "spot, kept": spot, "spot, nothing kept": nothing})
    panel_title(axes, "300 ResNet-50 on ImageNet", "lines: formula; marks: simulated, 95 %")
    return drawn


def by_interval(axes: Any, queues: dict[str, Queue]) -> None:
    """Overhead against the seconds between checkpoints."""
    grid, few = np.geomspace(10, 1e6, 60), np.geomspace(30, 3e5, 7)
    for k, (name, one) in enumerate(queues.items()):
        curve = [overhead(replace(one, every=float(t))) for t in grid]
        axes.plot(grid, [100 * y for y in curve], color=COLOURS[k], linewidth=1.2, label=name)
        for every in few:
            tried = replace(one, every=float(every))
            runs = [simulate(tried, seed) for seed in range(RUNS)]
            spent = fmean(o.busy + o.failures * one.restart for o in runs) / one.tasks
            shown = 100 * (spent / one.mean - 1)
            axes.plot(every, shown, MARKERS[k], color=COLOURS[k], markersize=4)
        best = best_interval(one.checkpoint, one.between)
        axes.axvline(best, ymax=0.78, color=COLOURS[k], linewidth=0.7, linestyle=":")
    axes.axvline(60, color="#9a9da1", linewidth=0.7)
    axes.annotate(
        "a minute", (60, 1), (3, -9), ("data", "axes fraction"), "offset points", fontsize=8
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.5, 30_000)
    ticks = {10: "10 s", 60: "", 600: "10 min", 3600: "1 h", 36000: "10 h", 864000: "10 days"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("work between two checkpoints; dotted: Young's best")
    axes.set_ylabel("more than the work itself")
    axes.legend(fontsize=8, loc="upper right")


def by_workers(axes: Any, queues: dict[str, Queue]) -> None:
    """Days until all are done against the number of workers."""
    grid = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 300)
    for k, (name, one) in enumerate(queues.items()):
        days = [makespan(replace(one, workers=n)) / 86400 for n in grid]
        style = ("-", "--", "-")[k % 3]  # two of the lines lie on each other
        axes.plot(grid, days, style, color=COLOURS[k], linewidth=1.4, label=name)
        for n in grid[::2]:
            runs = [
                simulate(replace(one, workers=n), seed).makespan / 86400 for seed in range(RUNS)
            ]
            reach = 2 * float(np.std(runs)) / RUNS**0.5
            axes.errorbar(n, fmean(runs), reach, fmt=MARKERS[k], color=COLOURS[k], markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([8, 16, 32, 64, 128, 256], ["8", "16", "32", "64", "128", "256"])
    axes.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("GPUs, one training each")
    axes.set_ylabel("days")
    axes.legend(fontsize=8)
