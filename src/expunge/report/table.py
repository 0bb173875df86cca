"""The audit as one table: for the terminal, and as Markdown."""

from rich.table import Table
from rich.text import Text

from expunge.report import document as doc
from expunge.report.document import Document, Entry
from expunge.report.words import (
    NOT_MEASURED,
    SIGNS,
    WITHHELD,
    group_word,
    quality,
    retrainings,
    spread,
    title,
)

Row = tuple[list[str], str]  # cells, and the verdict that colours the row ("" for none)

ROOM = 120  # columns of a terminal from which a number and its spread stand side by side
NARROW = 90  # below it claims break inside a word


def table(document: Document, width: int = ROOM) -> Table:
    """The audit for the terminal: the null, the original, then the methods from best to worst.

    Args:
        document: the contents of `audit.json`.
        width: columns of the terminal; 80 are enough.

    Returns:
        A table to print with `rich.print`.
    """
    doc.check(document)
    header, rows = _rows(document)
    made = Table(
        title=Text(doc.problem_name(document), style="bold"),
        caption=Text(note(document)),
        title_justify="left",
        caption_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    columns = zip(header, *(cells for cells, _ in rows), strict=True)
    for index, (word, *cells) in enumerate(columns):
        longest = max(len(part) for cell in (word, *cells) for part in cell.split() or [""])
        # Where room is short, numbers wrap between value and spread, so that the verdict still
        # fits; methods take what is left.
        most = None if width >= ROOM or index == 0 else longest
        if index == 1 and width < NARROW:
            most = 8
        made.add_column(
            Text(word),
            justify="left" if _wordy(index, header) else "right",
            overflow="fold",
            min_width=None if index < 2 else longest,
            max_width=most,
        )
    for cells, verdict in rows:
        *plain, last = (Text(cell) for cell in cells)
        if verdict:
            last.stylize(SIGNS[verdict].colour)
        made.add_row(*plain, last, style=None if verdict else "dim")
    return made


def markdown(document: Document) -> str:
    """The same table in Markdown, with the note below it.

    Args:
        document: the contents of `audit.json`.

    Returns:
        Lines ending in a newline.
    """
    doc.check(document)
    header, rows = _rows(document)
    rule = ["---" if _wordy(i, header) else "---:" for i in range(len(header))]
    lines = [header, rule, *(cells for cells, _ in rows)]
    body = "\n".join(f"| {' | '.join(map(_escape, cells))} |" for cells in lines)
    return f"{body}\n\n{_escape(note(document))}\n"


def note(document: Document) -> str:
    """What the numbers of the table are, in one paragraph."""
    metric = doc.metric(document)
    parts = []
    if metric == "klom":
        parts.append(
            "KLoM: 95th percentile within the group, ± two standard errors (null: half its "
            "95% range); lower is better."
        )
    elif metric == "distance":
        parts.append(
            "Distance: root mean square in standard deviations of the retrained models, "
            "± two standard errors (null: half its 95% range); lower is better."
        )
    parts += [
        f"{title(name)} {NOT_MEASURED}: {why}."
        for name, why in (document.get("not_measured") or {}).items()
        if name.removesuffix(".sd") in ("klom", "distance", "overshoot", doc.quality(document))
    ]
    parts.append(f"{title(doc.quality(document))}: ± one standard deviation over models.")
    parts.append("Cost in retrainings; † without what was made beforehand.")
    return " ".join(parts)


def _wordy(index: int, header: list[str]) -> bool:
    """Whether a column holds words (method, claim, verdict) and not numbers."""
    return index in (0, 1, len(header) - 1)


def _rows(document: Document) -> tuple[list[str], list[Row]]:
    metric = doc.metric(document)
    groups = [*doc.GROUPS, *(["average"] if metric == "klom" else [])]
    name = title(metric) if metric else "metric"
    header = ["method", "claim"]
    header += [f"{name} {group_word(document, group)}" for group in groups]
    short = {"accuracy": "acc."}.get(doc.quality(document), doc.quality(document))
    header += [f"{short} forget", f"{short} {group_word(document, 'test')}"]
    header += ["cost", "verdict"]
    rows: list[Row] = []
    for word in ("null", "original"):
        cells = _cells(document, document.get(word) or {}, metric, groups)
        rows.append(([word, "", *cells, "", ""], ""))
    for method in doc.order(document):
        entry = document["methods"][method]
        verdict = doc.verdict(entry)
        sign = SIGNS[verdict]
        cells = _cells(document, entry, metric, groups)
        if doc.withheld(entry):
            cells = [WITHHELD for _ in cells]
        cost = retrainings(doc.share(entry)) + ("†" if entry.get("shared_cost") else "")
        shown = f"{sign.symbol} {sign.word}"
        rows.append(([method, entry["claim"], *cells, cost, shown], verdict))
    return header, rows


def _cells(document: Document, entry: Entry, metric: str | None, groups: list[str]) -> list[str]:
    cells = [spread(doc.reading(entry, metric, group)) for group in groups]
    for group in ("forget", "test"):
        level = doc.level(entry, document, group)
        cells.append(" ".join(quality(level, doc.quality(document))).strip())
    return cells


def _escape(cell: str) -> str:
    """A cell that can neither end its column nor become markup."""
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("*", "\\*")):
        cell = cell.replace(old, new)
    return " ".join(cell.split())
