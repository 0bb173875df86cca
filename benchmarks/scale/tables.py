"""The tables of docs/scale.md, from the result file.

A table stands in the page between `<!-- scale: NAME -->` and `<!-- end -->`, so that no number can
differ from the file.
"""

import json
import re
from math import exp, log
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.scale.recorded import Check
from benchmarks.scale.scenarios import SOURCES
from expunge import store

UNITS = ((1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "days"), (365 * 86400.0, "years"))
SIZES = ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"), (1e15, "PB"))
PLACE = re.compile(r"(<!-- scale: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(out: Path, docs: Path) -> None:
    """Fill the page; a result elsewhere gets a page of its own beside it."""
    content = json.loads(out.read_text())
    target = docs if out == docs.parents[1] / "benchmarks/results/scale.json" else out
    text = filled(docs.read_text(), content)
    store.write_bytes(target.with_suffix(".md"), text.encode())


def filled(page: str, content: dict[str, Any]) -> str:
    """The page with all its tables made again."""
    made = tables(content)
    return PLACE.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", page)


def tables(content: dict[str, Any]) -> dict[str, str]:
    """All tables by name, Markdown."""
    return {
        "works": works(content["carried"]["works"]),
        "requests": requests(content["carried"]["requests"]),
        "bytes": held(content["carried"]["bytes"]),
        "limits": limits(content["carried"], content["short"], content["queues"]),
        "here": here(content["here"]),
        "checks": checked(content["checks"]),
        "networks": networks(content["short"]["networks"]),
        "queue": queue(content["queues"]),
        "rates": rates(content["rates"]),
    }


def works(rows: list[dict[str, Any]]) -> str:
    """What may be wanted at scale."""
    lines = []
    for one in rows:
        spans = [took(*ends) for ends in one["seconds by GPUs"].values()]
        weeks = ["none" if n is None else f"{n:,}" for n in one["machines for a week"]]
        lines.append([one["setting"], one["what"], *spans, "–".join(dict.fromkeys(weeks))])
    gpus = [f"{n} GPU{'s' * (n != '1')}" for n in rows[0]["seconds by GPUs"]]
    return table(["", "", *gpus, "machines of 8, a week"], lines)


def requests(rows: list[dict[str, Any]]) -> str:
    """Requests by dmm."""
    names = ["", "rows to forget", "one GPU", "of one retraining", "`combined`, of one retraining"]
    lines = [
        [
            one["setting"],
            f"{one['rows']:,}",
            took(*one["GPU seconds"]),
            f"{100 * one['of a retraining']:.2g} %",
            f"{100 * one['combined, of a retraining']:.3g} %",
        ]
        for one in rows
    ]
    return table(names, lines)


def held(rows: list[dict[str, Any]]) -> str:
    """Bytes in the store and in memory, a column a setting."""
    wanted = {
        "a model in the store": "model",
        "kept half-way of one training": "half-way",
        "half-data model: all outputs of all rows": "outputs of a half-data model",
        "half-data model: one margin a row": "margins of a half-data model",
        "evidence of KLoM, 1,000 rows forgotten": "evidence",
        "memory: training, without activations": "training, memory",
        "memory: EK-FAC": "EK-FAC, memory",
        "memory: linearised attribution": "linearised, memory",
    }
    lines = [[name, *(amount(one[key]) for one in rows)] for name, key in wanted.items()]
    seconds = [took(one["half-way, s"], one["half-way, s"]) for one in rows]
    lines.insert(2, ["seconds that this keeping takes", *seconds])
    one_core = [took(*2 * (one["eigenvectors, s of a core"],)) for one in rows]
    lines.append(["eigenvectors for EK-FAC, one core", *one_core])
    return table(["", *(one["setting"] for one in rows)], lines)


def limits(carried: dict[str, Any], short: dict[str, Any], queues: dict[str, Any]) -> str:
    """Where it breaks, in numbers."""
    by = {one["setting"]: one for one in carried["bytes"]}
    found, image, text = carried["limits"], by["ImageNet"], by["a billion texts"]
    lora, minute = by["a billion texts, LoRA"], queues["the same, kept every minute"]
    ours = queues["10 oracles of 7B, 64 GPUs each, kept"]
    gpu = amount(found["GPU, bytes"])
    lines = [
        [
            "half-data models keep all outputs of all rows",
            f"{amount(1000 * image['outputs of a half-data model'])} for 1,000 of ImageNet",
            "keep margins alone: "
            f"{amount(1000 * image['margins of a half-data model'])} (not in this package yet)",
        ],
        [
            "outputs of a language model at every token",
            f"{amount(found['all outputs of a model, bytes'])} a model",
            f"a panel of 10,000 texts, margins alone: {amount(found['margins of a panel, bytes'])}"
            " for 300 models",
        ],
        [
            "linearised attribution of 7B needs one device",
            f"{amount(text['linearised, memory'])}, a GPU has {gpu}",
            f"LoRA: {amount(lora['linearised, memory'])}; or spread over devices",
        ],
        [
            "a half-way checkpoint every minute",
            f"{amount(text['half-way'])} at the measured {amount(short['writing, bytes/s'])}/s: "
            f"{took(text['half-way, s'], text['half-way, s'])}: "
            f"{1 + minute['overhead, formula']:.0f} times the work",
            f"keeping takes 2 % of the time at most: every {took(ours['every'], ours['every'])}, "
            f"{100 * ours['overhead, formula']:.1f} % more work",
        ],
        [
            "the store keeps frozen weights again with each model",
            f"{amount(lora['model'])} a model with LoRA",
            f"adapters alone: {amount(found['LoRA, bytes of the adapters alone'])}"
            " (not in this package yet)",
        ],
        [
            "row numbers, one epoch's order and hashes in every process",
            f"{amount(found['bookkeeping, bytes a process'])} and "
            f"{took(found['bookkeeping, s'], found['bookkeeping, s'])} for a billion rows",
            "shards: each knows its own rows",
        ],
    ]
    return table(["what breaks", "number", "way out"], lines)


def here(rows: dict[str, dict[str, float]]) -> str:
    """What this machine does in an evening."""
    names = ["on two cores", "a model", "share of the matrix-multiply rate"]
    lines = []
    for name, one in rows.items():
        seconds = one["seconds a model"]
        cells = [f"{name}, {one['epochs']} epochs", took(seconds, seconds)]
        cells.append(f"{100 * one['share of the rate']:.0f} %")
        lines.append(
            [*cells, took(300 * seconds, 300 * seconds), took(500 * seconds, 500 * seconds)]
        )
    return table([*names, "300 models for KLoM", "1,000 half-data models"], lines)


def checked(rows: list[dict[str, Any]]) -> str:
    """How far predictions of earlier runs are off."""
    found = [Check(**row) for row in rows]
    lines = []
    for kind in dict.fromkeys(check.kind for check in found):
        ratios = sorted(check.ratio for check in found if check.kind == kind)
        mean = exp(fmean(log(r) for r in ratios))
        ends = f"{ratios[0]:.2f} to {ratios[-1]:.2f}" if len(ratios) > 1 else ""
        lines.append([kind, str(len(ratios)), f"{mean:.2f}", ends])
    return table(["seconds", "checks", "predicted / actual", "from, to"], lines)


def networks(rows: dict[str, dict[str, Any]]) -> str:
    """Actual over predicted seconds of the short run, by network."""
    works = next(iter(rows.values()))["actual over predicted"]
    lines = [["weights", *(f"{one['weights']:,}" for one in rows.values())]]
    shares = (f"{100 * one['share of the rate']:.0f} %" for one in rows.values())
    lines.append(["training, of the matrix-multiply rate", *shares])
    for work in works:
        cells = [one["actual over predicted"].get(work) for one in rows.values()]
        lines.append([work, *("" if not c else f"{median(c):.2f}" for c in cells)])
    return table(["actual / predicted", *rows], lines)


def queue(rows: dict[str, dict[str, Any]]) -> str:
    """The queue by formula and simulated."""
    names = [
        "",
        "formula",
        "simulated / formula, 95 %",
        "overhead",
        "simulated",
        "lost three times",
    ]
    lines = []
    for name, one in rows.items():
        low, high = one["simulated / formula, interval"]
        lost = one["given up, formula"]
        time = "" if lost else took(*2 * (one["makespan, formula"],))
        cells = [name, time, "" if lost else f"{low:.3f} to {high:.3f}"]
        cells += [percent(one[f"overhead, {how}"]) for how in ("formula", "simulated")]
        given = f"{percent(one['given up'])} of tasks (formula {percent(lost)}); at least one in "
        given += f"{percent(one['runs that give one up'])} of runs"
        cells[3:] = ["", "", given] if lost else [*cells[3:], ""]
        lines.append(cells)
    return table(names, lines)


def rates(rows: dict[str, dict[str, Any]]) -> str:
    """The rates of GPUs with their sources."""
    lines = []
    for name, one in rows.items():
        cells = [name, "by us" if one["measured by us"] else "not by us"]
        for end in one["ends"]:
            share = end["share of the peak"]
            where = f"[{end['what']}]({SOURCES[end['title']]})" if end["title"] else end["what"]
            peak = "" if share is None else f", {percent(share)} of its peak"
            cells.append(f"{end['a_second']:,.0f}: {where}{peak}")
        lines.append(cells)
    return table(["a second and GPU", "measured", "slow", "fast"], lines)


def took(low: float, high: float) -> str:
    """A time, or two ends of one, in the unit that suits the longer."""
    size, unit = [(s, u) for s, u in UNITS if s <= max(high, 1.0)][-1]
    ends = dict.fromkeys(number(end / size) for end in (low, high))
    return f"{'–'.join(ends)} {unit}"


def amount(count: float) -> str:
    """Bytes in the unit that suits."""
    size, unit = [(s, u) for s, u in SIZES if s <= max(count, 1.0)][-1]
    return f"{number(count / size)} {unit}"


def number(value: float) -> str:
    """Two digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{number(100 * share)} %"


def table(names: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rows = [names, ["---"] * len(names), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
