"""The page of a benchmark: what was run, tables, figures, and every word explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from expunge.errors import BadInput
from expunge.report.bench.glossary import GLOSSARY
from expunge.report.bench.grid import Grid
from expunge.report.bench.table import html
from expunge.report.words import NOT_MEASURED, listing


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes:
        heading: what it shows, in a few words.
        caption: how to read it.
        wide: `<svg>` of this package's figures, not escaped.
        narrow: the same for a narrow window, or "" to show the wide one there, too.
    """

    heading: str
    caption: str
    wide: str
    narrow: str = ""


def page(
    title: str,
    facts: Mapping[str, object],
    grids: Sequence[Grid],
    drawings: Sequence[Drawing] = (),
    missing: Mapping[str, str] | None = None,
) -> str:
    """A benchmark as HTML that needs neither network nor scripts.

    Args:
        title: what was compared, and on what.
        facts: what was run, by name: data, model, forget sets, seeds, machine, versions, ...
        grids: the tables; what they lack is listed with the reasons.
        drawings: the figures.
        missing: what else was not measured, with the reason, e.g. a figure.

    Returns:
        A complete HTML document; all text is escaped, and equal input gives equal bytes.

    Raises:
        BadInput: neither a table nor a figure, or a drawing that is not one `<svg>`.
    """
    if not grids and not drawings:
        raise BadInput(
            "neither a table nor a figure",
            expected="at least one of them",
            fix="run the benchmark before its page is made",
        )
    for drawing in drawings:
        for picture in filter(None, (drawing.wide, drawing.narrow or drawing.wide)):
            if not (picture.startswith("<svg") and picture.rstrip().endswith("</svg>")):
                raise BadInput(
                    f"the drawing '{drawing.heading}' begins with {picture[:20]!r}",
                    expected="one `<svg>` element",
                    fix="give what the functions of report.bench return, not what draw_* do",
                )
    room = files("expunge.report")
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    template = room.joinpath("bench", "page.html.j2").read_text(encoding="utf-8")
    styles = [("page.css",), ("bench", "page.css")]
    return environment.from_string(template).render(
        css=Markup("").join(
            Markup(room.joinpath(*path).read_text(encoding="utf-8")) for path in styles
        ),
        title=title,
        facts=facts,
        tables=[(grid.title, html(grid)) for grid in grids],
        drawings=[
            (one.heading, one.caption, Markup(one.wide), Markup(one.narrow or one.wide))
            for one in drawings
        ],
        missing=_missing(grids, missing or {}),
        glossary=GLOSSARY,
    )


def _missing(grids: Sequence[Grid], others: Mapping[str, str]) -> list[str]:
    """One sentence for each reason, with the tables and entries that it is the reason of."""
    titles: dict[tuple[str, str], list[str]] = {}
    for grid in grids:
        columns: dict[tuple[str, str], list[str]] = {}  # by reason and method
        for line in grid.ordered:
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
