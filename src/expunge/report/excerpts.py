"""The rows worst forgotten, in words: a beginning, and the whole text on demand."""

from dataclasses import dataclass
from unicodedata import category

from expunge.audit.evidence.folder import Evidence
from expunge.report import document as doc
from expunge.report.document import Document
from expunge.report.worst import forget_margins, worst_rows

START = 280  # characters that are shown at once
WHOLE = 10_000  # characters of a row on the page at most, which stays below 1.5 MB


@dataclass(frozen=True)
class Excerpt:
    """The text of one row, not escaped.

    Attributes:
        caption: the row's number and id, in words.
        detail: its label or value, and its score.
        start: the text, or its beginning with an ellipsis.
        whole: the text up to WHOLE characters; "" where `start` is all of it.
    """

    caption: str
    detail: str
    start: str
    whole: str


def excerpts(document: Document, evidence: Evidence, method: str) -> list[Excerpt]:
    """The texts of the rows that `distributions` shows of a method, in its order.

    Returns:
        One for each such row; none where there are no texts, or the method was refused.
    """
    if not evidence.texts or doc.withheld(document["methods"][method]):
        return []
    worst = worst_rows(document, evidence, method, forget_margins(evidence, method))
    return [
        Excerpt(row.caption, row.detail, *shortened(evidence.texts[row.place])) for row in worst
    ]


def shortened(text: str) -> tuple[str, str]:
    """What is shown of a text at once, and the whole of it, or "" if that is the same."""
    text = "".join(c if category(c) != "Cc" or c in "\n\t" else " " for c in text).strip()
    if len(text) <= START:
        return text or "(an empty text)", ""
    start = text[:START]
    start = start[: start.rfind(" ")] if " " in start[START // 2 :] else start
    more = f" … ({len(text) - WHOLE:,} more characters are in the evidence)"
    return f"{start} …", text[:WHOLE] + (more if len(text) > WHOLE else "")
