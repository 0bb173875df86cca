"""The page of a benchmark: what was run, tables, figures, and every word explained."""

from collections.abc import Mapping, Sequence

from expunge.report.bench.grid import Grid
from expunge.report.bench.table import html
from expunge.report.template import Drawing, render
from expunge.report.words import NOT_MEASURED, listing


def page(
    title: str,
    facts: Mapping[str, object],
    grids: Sequence[Grid],
    drawings: Sequence[Drawing],
    missing: Mapping[str, str],
) -> str:
    """A benchmark as HTML that needs neither network nor scripts.

    Args:
        title: what was compared, and on what.
        facts: what was run, by name: data, model, forget sets, seeds, machine, versions, ...
        grids: the tables; what they lack is listed with the reasons.
        drawings: the figures.
        missing: what else was not measured, with the reason, e.g. a figure.
    """
    return render(
        "bench/page.html.j2",
        title=title,
        facts=facts,
        tables=[(grid.title, html(grid)) for grid in grids],
        drawings=drawings,
        missing=_missing(grids, missing),
    )


def _missing(grids: Sequence[Grid], others: Mapping[str, str]) -> list[str]:
    """One sentence for each reason, with the tables and entries that it is the reason of."""
    titles: dict[tuple[str, str], list[str]] = {}
    for grid in grids:
        columns: dict[tuple[str, str], list[str]] = {}  # by reason and method
        for line in grid.lines:
            for column in grid.columns:
                if line.cells.get(column) is None:
                    why = grid.why(line.method, column) or "no reason was recorded"
                    columns.setdefault((why, line.method), []).append(column)
        what: dict[str, list[str]] = {}
        for (why, method), absent in columns.items():
            what.setdefault(why, []).append(f"{method} ({', '.join(absent)})")
        for why, entries in what.items():
            titles.setdefault((listing(entries), why), []).append(grid.title)
    lines = [
        f"{listing(tables)}: {what} {NOT_MEASURED}: {why.rstrip('.')}."
        for (what, why), tables in titles.items()
    ]
    return lines + [f"{name} {NOT_MEASURED}: {why.rstrip('.')}." for name, why in others.items()]
