"""The contents of a benchmark table as plain words and numbers, for three notations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from expunge.report.bench.grid import REFERENCE, Grid, Line
from expunge.report.words import NOT_MEASURED, listing

Mark = Callable[[str], str]  # the text of a footnote -> its letter


@dataclass(frozen=True)
class Entry:
    """One entry of a table, rounded.

    Attributes:
        mean: a number, or "not measured".
        sd: a number, or "".
        gap: a signed number, "not measured" beside a measured mean, or "" where none belongs.
        gap_se: a number, or "".
        best: whether it is the best of its column.
        mark: letter of its footnote, or "".
    """

    mean: str
    sd: str = ""
    gap: str = ""
    gap_se: str = ""
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table ready to be written.

    Attributes:
        header: the first word is that of the methods' column.
        rows: a method, the letter of its footnote, and its entries.
        footnotes: letter and text.
        notes: sentences on the table as a whole.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Entry, ...]], ...]
    footnotes: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def sheet(grid: Grid) -> Sheet:
    """The contents of a table in the order in which they are read.

    Footnotes are lettered as they occur; equal texts share a letter.

    Returns:
        Rounded numbers and plain, unescaped text; a minus is a hyphen.
    """
    letters: dict[str, str] = {}
    fresh = _letters()

    def mark(text: str) -> str:
        if text and text not in letters:
            letters[text] = next(fresh)
        return letters.get(text, "")

    best = {column: grid.best(column) for column in grid.columns}
    rows = []
    for line in grid.lines:
        noted = mark(line.note)
        entries = tuple(
            _entry(grid, line, column, line.method in best[column], mark) for column in grid.columns
        )
        rows.append((clean(line.method), noted, entries))
    units = {column: f" ({unit})" for column, unit in grid.units.items() if unit}
    headings = [column + units.get(column, "") for column in grid.columns]
    return Sheet(
        header=("Method", *headings),
        rows=tuple(rows),
        footnotes=tuple((letter, _sentence(text)) for text, letter in letters.items()),
        notes=tuple(_notes(grid)),
    )


def clean(text: str) -> str:
    """On one line, without control characters."""
    return " ".join("".join(x if x.isprintable() else " " for x in text).split())


def _entry(grid: Grid, line: Line, column: str, best: bool, mark: Mark) -> Entry:
    cell, why = line.cells.get(column), grid.why(line.method, column)
    if cell is None:
        return Entry(NOT_MEASURED, mark=mark(why))

    def shown(value: float | None) -> str:
        return "" if value is None else grid.rounded(column, value, like=cell.mean)

    gap, gap_se, note = shown(cell.gap), shown(cell.gap_se), ""
    if cell.gap is None and grid.has_gaps(column) and line.method != REFERENCE:
        gap, note = NOT_MEASURED, mark(why)
    elif cell.gap is not None and float(gap) > 0:
        gap = f"+{gap}"
    return Entry(grid.rounded(column, cell.mean), shown(cell.sd), gap, gap_se, best, note)


def _notes(grid: Grid) -> Iterator[str]:
    yield from _spread(grid)
    if any(grid.has_gaps(column) for column in grid.columns):
        yield f"In brackets the gap: the mean less that of {REFERENCE}; nearer to 0 is better."
    kinds = []
    if any(grid.best(column) for column in grid.columns if grid.has_gaps(column)):
        kinds.append("the smallest gap of its column")
    lowest = [column for column in grid.columns if column in grid.smallest and grid.best(column)]
    if lowest:
        kinds.append(f"the smallest {listing(lowest)}")
    if kinds:
        shown = [line.method for line in grid.lines if line.method in grid.aside]
        aside = listing([REFERENCE, *shown])
        yield f"Bold: {listing(kinds)}, {aside} aside; equal entries are all bold."


def _spread(grid: Grid) -> Iterator[str]:
    """Over how many models a number is, and what its spread is."""
    cells = {c: [cell for line in grid.lines if (cell := line.cells.get(c))] for c in grid.columns}
    counts = sorted({cell.n for own in cells.values() for cell in own})
    if not counts:
        return
    models = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    spread = [c for c, own in cells.items() if any(cell.sd is not None for cell in own)]
    deviation = "± standard deviation " if set(spread) - set(grid.errors) else ""
    yield f"Mean {deviation}over {models} model{'' if counts == [1] else 's'}."
    errors = [column for column in spread if column in grid.errors]
    if errors:
        yield f"The spread of {listing(errors)} is the standard error."


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".") + "."


def _letters() -> Iterator[str]:
    """a, b, ..., z, then aa, ab, ..."""
    for number in count():
        first, second = divmod(number, 26)
        yield (chr(96 + first) if first else "") + chr(97 + second)
