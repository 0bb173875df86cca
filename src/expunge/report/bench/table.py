"""A benchmark table in Markdown, LaTeX and HTML, each entry as `mean±sd (gap)`."""

import re

from markupsafe import Markup

from expunge.report.bench.entry import Entry, Sheet, sheet
from expunge.report.bench.grid import Grid
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

    Args:
        grid: the table.

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

    Args:
        grid: the table.

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


def html(grid: Grid) -> Markup:
    """The table as one `<table>` with a caption, headings that name their scope, and footnotes.

    Args:
        grid: the table.

    Returns:
        Markup for a page with the style sheet of `report/page.css`; all text is escaped.
    """
    made = sheet(grid)
    head = Markup().join(Markup('<th scope="col">{}</th>').format(word) for word in made.header)
    body = Markup("\n").join(
        Markup('<tr{}><th scope="row">{}{}</th>{}</tr>').format(
            Markup(' class="reference"') if method == grid.reference else "",
            _clean(method),
            _sup(mark),
            Markup().join(map(_html_entry, entries)),
        )
        for method, mark, entries in made.rows
    )
    return Markup(
        '<table class="numbers grid">\n<caption>{}</caption>\n<thead><tr>{}</tr></thead>\n'
        "<tbody>\n{}\n</tbody>\n{}</table>\n"
    ).format(_clean(grid.title), head, body, _foot(made))


def _foot(made: Sheet) -> Markup:
    notes = [Markup("{}").format(note) for note in made.notes]
    if any(entry.gap_se for _, _, entries in made.rows for entry in entries):
        notes.append(Markup("In brackets, ± is the standard error of the gap."))
    parts = [Markup(" ").join(notes)] if notes else []
    parts += [Markup("{} {}").format(_sup(mark), text) for mark, text in made.footnotes]
    if not parts:
        return Markup()
    lines = Markup().join(Markup("<p>{}</p>").format(part) for part in parts)
    return Markup('<tfoot><tr><td colspan="{}">{}</td></tr></tfoot>\n').format(
        len(made.header), lines
    )


def _markdown_entry(entry: Entry) -> str:
    text = _minus(entry.mean + (f"±{entry.sd}" if entry.sd else ""))
    text += f" ({_minus(entry.gap)})" if entry.gap else ""
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


def _html_entry(entry: Entry) -> Markup:
    text = Markup("{}").format(_minus(entry.mean))
    if entry.sd:
        text += Markup(" ±{}").format(entry.sd)
    if entry.best:
        text = Markup("<strong>{}</strong>").format(text)
    gap = Markup()
    if entry.gap:
        se = f" ±{entry.gap_se}" if entry.gap_se else ""
        gap = Markup("({}{})").format(_minus(entry.gap), se)
        gap = Markup("<small>{}</small>").format(
            Markup("<strong>{}</strong>").format(gap) if entry.best else gap
        )
    # a space for those who copy the text, or read it without the style sheet
    tone = Markup(' class="absent"') if entry.mean == NOT_MEASURED else ""
    parts = [text + _sup(entry.mark), *([gap] if gap else [])]
    return Markup("<td{}>{}</td>").format(tone, Markup(" ").join(parts))


def _minus(number: str) -> str:
    return number.replace("-", MINUS, 1) if number.startswith("-") else number


def _raised(mark: str) -> str:
    return f"<sup>{mark}</sup>" if mark else ""


def _sup(mark: str) -> Markup:
    return Markup("<sup>{}</sup>").format(mark) if mark else Markup()


def _superscript(mark: str) -> str:
    return rf"\textsuperscript{{{mark}}}" if mark else ""


def _clean(text: str) -> str:
    """On one line, without control characters."""
    return " ".join("".join(x if x.isprintable() else " " for x in text).split())


def _plain(text: str, escapes: dict[str, str]) -> str:
    """Text that cannot become markup."""
    return "".join(escapes.get(letter, letter) for letter in _clean(text))


def _tex(text: str) -> str:
    return re.sub("-(?=-)", "-{}", _plain(text, LATEX))  # two hyphens would become a dash


def _slug(title: str) -> str:
    """Letters and digits of a title, for a label."""
    words = "".join(x if x.isascii() and x.isalnum() else " " for x in title.lower()).split()
    return "-".join(words) or "table"
