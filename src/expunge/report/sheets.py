"""The page's tables: plain cells, ready for the template."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from expunge.audit.metrics import METRICS, Metric
from expunge.report import document as doc
from expunge.report.document import Document, Entry, Reading
from expunge.report.power import power
from expunge.report.words import (
    NOT_MEASURED,
    SIGNS,
    WITHHELD,
    group_word,
    interval,
    number,
    quality,
    retrainings,
    title,
)


@dataclass(frozen=True)
class Cell:
    """One cell: a number or words, a smaller line below, and a warning mark."""

    text: str
    detail: str = ""
    above: bool = False  # the whole interval lies above the limit
    tone: str = ""


@dataclass(frozen=True)
class Sheet:
    """One table; the first cell of each row is its heading."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    wordy: bool = False  # cells hold words, not numbers


def metric_sheet(document: Document, metric: str) -> Sheet:
    """KLoM or distance of each group, with intervals, the null, the limit and the verdict."""
    groups = [*doc.GROUPS, *(["average"] if metric == "klom" else [])]
    limits = {group: number(doc.limit(document, {}, metric, group)) for group in doc.GROUPS}
    null, original = document.get("null") or {}, document.get("original") or {}
    rows = [
        _line("null (oracles among themselves)", _levels(document, null, metric, groups)),
        _line("limit (null + tolerance)", [Cell(limits.get(g, "")) for g in groups]),
        _line("original", _levels(document, original, metric, groups)),
    ]
    for method in doc.order(document):
        entry = document["methods"][method]
        sign, judge = SIGNS[doc.verdict(entry)], entry.get("verdict_metric")
        word = Cell(f"{sign.symbol} {sign.word}", tone=sign.tone)
        cells = _levels(document, entry, metric, groups)
        if doc.withheld(entry):
            cells = [Cell(WITHHELD) for _ in groups]
        elif judge != metric:
            word = Cell(f"judged by {title(judge)}" if judge else word.text)
        if entry.get("null"):  # fewer models than the others: another null
            own = [_cell(doc.null(document, entry, metric, group)) for group in groups]
            rows.append(_line(f"null for {method}", own))
        models = doc.models_used(document, method)
        rows.append((Cell(method), *cells, Cell("" if models is None else f"{models:,}"), word))
    return Sheet(
        caption=f"{title(metric)} ({'nats' if metric == 'klom' else 'standard deviations'})",
        header=("method", *(group_word(document, group) for group in groups), "models", "verdict"),
        rows=tuple(rows),
    )


def quality_sheet(document: Document) -> Sheet | None:
    """Accuracy or mean absolute error of each group with its spread, or None if unmeasured."""
    name = doc.quality(document)
    if not any(entry.get(name) for entry in document["methods"].values()):
        return None

    def cells(entry: Entry) -> list[Cell]:
        levels = [doc.level(entry, document, group) for group in doc.GROUPS]
        return [Cell(*quality(level, name)) for level in levels]

    return Sheet(
        caption=f"{title(name)} (mean over models, ± one standard deviation)",
        header=("method", *(group_word(document, group) for group in doc.GROUPS)),
        rows=_compared(document, "oracles", cells),
    )


def attacks(document: Document) -> list[Metric]:
    """The metrics of single numbers, attacks and probes, that some method has."""
    entries = document["methods"].values()
    return [m for n, m in METRICS.items() if any(n in (e.get("metrics") or {}) for e in entries)]


def attack_sheet(document: Document) -> Sheet | None:
    """Attacks and probes: one number of each file of models, with its interval, or None."""
    metrics = attacks(document)
    if not metrics:
        return None

    def cells(entry: Entry) -> list[Cell]:
        return [_single((entry.get("metrics") or {}).get(metric.name)) for metric in metrics]

    return Sheet(
        caption="Attacks and probes (nearer to the null is better)",
        header=("method", *(f"{metric.name} ({metric.unit})" for metric in metrics)),
        rows=_compared(document, "null (retrained)", cells),
    )


def _compared(
    document: Document, null: str, cells: Callable[[Entry], list[Cell]]
) -> tuple[tuple[Cell, ...], ...]:
    """A row of the null under this name, of the original, and of each method not withheld."""
    rows = [
        (Cell(null), *cells(document.get("null") or {})),
        (Cell("original"), *cells(document.get("original") or {})),
    ]
    for method in doc.order(document):
        entry = document["methods"][method]
        shown = [Cell(WITHHELD) if doc.withheld(entry) else cell for cell in cells(entry)]
        rows.append((Cell(method), *shown))
    return tuple(rows)


def _single(found: Mapping[str, Any] | None) -> Cell:
    """A number with its interval below, and the p-value where it is a test."""
    if not found or found.get("value") is None:
        return Cell(NOT_MEASURED)
    ends = found.get("interval")
    detail = f"[{number(ends[0])}, {number(ends[1])}]" if ends else ""
    p = f"p = {number(found['p'])}" if "p" in found else ""
    return Cell(number(found["value"]), " ".join(filter(None, (detail, p))))


_COSTS = {
    "rows forward": "forward_rows",
    "rows backward": "backward_rows",
    "row units": "row_units",
    "seconds": "seconds",
}


def cost_sheet(document: Document) -> Sheet:
    """What each method cost for this request, and what had to be made beforehand."""
    rows = []
    for method in doc.order(document):
        entry = document["methods"][method]
        paid, prepared = entry.get("cost") or {}, entry.get("shared_cost") or {}
        total = doc.total_share(entry)
        cells = [
            Cell(method),
            Cell(retrainings(doc.share(entry))),
            *(Cell(_amount(paid.get(key))) for key in _COSTS.values()),
            Cell(retrainings(total), prepared.get("what", "")),
            Cell(_pays(prepared, total) if prepared else ""),
        ]
        rows.append(tuple(cells))
    return Sheet(
        caption="Cost of this request (one retraining = 1)",
        header=("method", "retrainings", *_COSTS, "with preparation", "pays from request"),
        rows=tuple(rows),
    )


def _pays(prepared: dict[str, Any], total: float | None) -> str:
    """From how many requests on what was made beforehand is cheaper than as many retrainings."""
    if total is None or prepared.get("relative_to_retrain") is None:
        return NOT_MEASURED
    requests = 1 if total < 1 else prepared.get("requests_to_pay")
    return f"{requests:,}" if requests else "never"


def procedure_sheet(document: Document) -> Sheet:
    """What each method claims, what it changed, its settings, and the reasons of its verdict."""
    rows = []
    for method in doc.order(document):
        entry = document["methods"][method]
        changed = entry.get("changed")
        cells = [
            Cell(method),
            Cell(entry["claim"], doc.claim_detail(entry)),
            Cell(number(changed), entry.get("reason", "")),
            Cell("", "\n".join(flat(entry.get("settings") or {}))),
        ]
        rows.append(tuple(cells))
    return Sheet(
        caption="What was done",
        header=("method", "claim", "largest change of a weight", "settings"),
        rows=tuple(rows),
        wordy=True,
    )


def power_sheet(document: Document, method: str) -> Sheet | None:
    """The smallest leak that the audit of `method` could have found, or None if unmeasured."""
    found = power(document, method)
    if not found:
        return None
    rows = [
        (
            Cell(group_word(document, one.group)),
            Cell(number(one.found_from)),
            Cell("more than 6" if one.shift is None else number(one.shift)),
        )
        for one in found
    ]
    return Sheet(
        caption=f"Power: the smallest leak called one ({method})",
        header=("group", f"{title(found[0].metric)} from", "a shift of every row by (sd)"),
        rows=tuple(rows),
    )


def flat(facts: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key = value` lines of nested facts, keys joined by dots after the prefix."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            lines += flat(value, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key} = {value}")
    return lines


def _line(heading: str, cells: list[Cell]) -> tuple[Cell, ...]:
    return (Cell(heading), *cells, Cell(""), Cell(""))


def _levels(document: Document, entry: Entry, metric: str, groups: list[str]) -> list[Cell]:
    above = doc.outside(document, entry, metric)
    return [_cell(doc.reading(entry, metric, group), group in above) for group in groups]


def _cell(level: Reading | None, above: bool = False) -> Cell:
    if level is None:
        return Cell(NOT_MEASURED)
    return Cell(number(level.value), interval(level), above)


def _amount(value: float | None) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f}" if value == 0 or value >= 100 else f"{value:.3g}"
