"""A benchmark table in Markdown, LaTeX and HTML, each entry as `mean±sd (gap)`."""

import re

from expunge.report.bench.entry import Entry, clean, sheet
from expunge.report.bench.grid import REFERENCE, Grid
from expunge.report.template import render
from expunge.report.words import NOT_MEASURED

MINUS = "−"  # a hyphen is too short beside a plus sign

MARKDOWN = {letter: f"\\{letter}" for letter in "\\|`*_[]~"} | {"<": "&lt;", "&": "&amp;"}
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": r"{[}",  # or the first of a line would be an option of the line break before it
    "*": r"{*}",  # likewise
    "†": r"\dag{}",
    "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
}


def markdown(grid: Grid) -> str:
    """The table in Markdown, under its title and with footnotes below.

    Returns:
        Lines ending in a newline; text cannot become markup.
    """
    made = sheet(grid)
    lines = [
        [_plain(word, MARKDOWN) for word in made.header],
        ["---", *("---:" for _ in grid.columns)],
        *(
            [_plain(method, MARKDOWN) + _raised(mark), *map(_markdown_entry, entries)]
            for method, mark, entries in made.rows
        ),
    ]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = [_plain(note, MARKDOWN) for note in made.notes]
    notes += [f"{_raised(mark)} {_plain(text, MARKDOWN)}" for mark, text in made.footnotes]
    below = "".join(f"\n{note}\n" for note in notes)
    return f"**{_plain(grid.title, MARKDOWN)}**\n\n{body}\n{below}"


def latex(grid: Grid) -> str:
    r"""The table as a `table` environment with caption and label.

    It needs `\usepackage{booktabs,graphicx}`, and for names beyond Latin letters XeLaTeX or
    LuaLaTeX. A table wider than the text is scaled down to it; in a paper of two columns, make it a
    `table*`.

    Returns:
        Lines ending in a newline; all text is escaped.
    """
    made = sheet(grid)
    notes = " ".join(_tex(note) for note in made.notes)
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_tex(grid.title)}}}",
        rf"\label{{tab:{_slug(grid.title)}}}",
        r"\footnotesize\setlength{\tabcolsep}{3pt}",
        r"\sbox0{%",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(grid.columns)}@{{}}}}",
        r"\toprule",
        " & ".join(_tex(word) for word in made.header) + r" \\",
        r"\midrule",
    ]
    for index, (method, mark, entries) in enumerate(made.rows):
        cells = [_tex(method) + _superscript(mark), *map(_latex_entry, entries)]
        lines.append(" & ".join(cells) + r" \\")
        if index == 0 and len(made.rows) > 1:  # the reference stands apart from the contest
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}}%"]
    # measured first: a narrow table keeps its size, and needs no graphicx
    lines.append(r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi")
    below = [notes, *(f"{_superscript(m)} {_tex(t)}" for m, t in made.footnotes)]
    below = [line for line in below if line]
    if below:
        # a box as wide as the text: the notes are centred with the table, but set as a paragraph
        breaks = "\\\\\n".join(below)
        lines += [
            r"\par\smallskip",
            rf"\parbox{{\linewidth}}{{\scriptsize\raggedright {breaks}}}",
        ]
    lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def html(grid: Grid) -> str:
    """The table as one `<table>` for a page with the style sheet; all text is escaped."""
    made = sheet(grid)
    return render(
        "bench/table.html.j2",
        title=clean(grid.title),
        table=made,
        precise=any(entry.gap_se for *_, entries in made.rows for entry in entries),
        reference=REFERENCE,
    )


def _markdown_entry(entry: Entry) -> str:
    text = entry.mean + (f"±{entry.sd}" if entry.sd else "")
    text += f" ({entry.gap})" if entry.gap else ""
    text = text.replace("-", MINUS)
    return (f"**{text}**" if entry.best else text) + _raised(entry.mark)


def _latex_entry(entry: Entry) -> str:
    if entry.mean == NOT_MEASURED:
        return NOT_MEASURED + _superscript(entry.mark)
    mean = rf"{entry.mean}_{{\pm {entry.sd}}}" if entry.sd else entry.mean
    text = rf"$\mathbf{{{mean}}}$" if entry.best else f"${mean}$"
    if entry.gap == NOT_MEASURED:
        text += f" ({entry.gap})"
    elif entry.gap:
        text += rf" ($\mathbf{{{entry.gap}}}$)" if entry.best else f" (${entry.gap}$)"
    return text + _superscript(entry.mark)


def _raised(mark: str) -> str:
    return f"<sup>{mark}</sup>" if mark else ""


def _superscript(mark: str) -> str:
    return rf"\textsuperscript{{{mark}}}" if mark else ""


def _plain(text: str, escapes: dict[str, str]) -> str:
    """Text that cannot become markup."""
    return "".join(escapes.get(letter, letter) for letter in clean(text))


def _tex(text: str) -> str:
    return re.sub("-(?=-)", "-{}", _plain(text, LATEX))  # two hyphens would become a dash


def _slug(title: str) -> str:
    """Letters and digits of a title, for a label."""
    words = "".join(x if x.isascii() and x.isalnum() else " " for x in title.lower()).split()
    return "-".join(words) or "table"
