"""A Markdown page for each method, and an index, made from what the methods say of themselves."""

import re
from pathlib import Path
from typing import Any

from expunge.cli.method_help import needs, shown
from expunge.contract.laws import LAWS

Found = list[tuple[Any, dict[str, str]]]  # an `About`, and the laws it need not obey: why

COMMAND = "expunge methods --docs docs/methods"  # renews the pages of this package
INDEX = "README.md"


def write_pages(found: Found, folder: Path) -> dict[str, str]:
    """Write the pages of these methods into a folder; others there are left. Returns them."""
    made = pages(found)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return made


def pages(found: Found) -> dict[str, str]:
    """The text of each page by its file name; the index is README.md."""
    return {INDEX: index(found), **{f"{one.name}.md": page(one, exempt) for one, exempt in found}}


def index(found: Found) -> str:
    """A table of all methods, each with a link to its page."""
    rows = [
        (f"[{chosen.name}]({chosen.name}.md)", chosen.what, chosen.claim, needs(chosen))
        for chosen, _ in found
    ]
    return f"""# Methods

What each method promises, what it needs besides the model and its data, and a page for each with
its source, cost and settings. `expunge forget --method NAME --help` shows the same in the terminal;
in Python a setting is an argument with underscores, such as `batch_size=64`.

{_table(("method", "what it does", "claim", "needs"), rows)}
These pages are written by `{COMMAND}`.
"""


def page(chosen: Any, exempt: dict[str, str]) -> str:
    """The page of one method."""
    parts = [f"# {chosen.name}", _text(chosen.what), _text(chosen.title)]
    rows = [("claim", chosen.claim), ("needs", needs(chosen)), ("source", chosen.source)]
    parts.append(_table(("", ""), rows).rstrip())
    for heading, text in (
        ("Source", chosen.origin),
        ("Where it differs", chosen.differs),
        ("Cost", chosen.cost),
    ):
        if text:
            parts += [f"## {heading}", _text(text[:1].upper() + text[1:])]
    parts += ["## Settings", _settings(chosen)]
    if exempt:
        lines = [f"- {law}. {_text(LAWS[law].says)} Here: {_text(exempt[law])}." for law in exempt]
        parts += ["## Laws that it need not obey", "\n".join(lines)]
    return "\n\n".join([*parts, "## Use", _use(chosen)]) + "\n"


def _settings(chosen: Any) -> str:
    if not chosen.settings:
        return "It has none."
    rows = [
        (f"`{s.flag}`", f"`{shown(s.default)}`", s.unit, s.what, s.typical, s.allowed)
        for s in chosen.settings
    ]
    return _table(("setting", "default", "unit", "meaning", "typical", "allowed"), rows).rstrip()


def _use(chosen: Any) -> str:
    first = chosen.settings[:2]
    flags = "".join(f" {s.flag} {shown(s.default)}" for s in first)
    values = [f'"{s.default}"' if s.kind is str else s.default for s in first]
    words = "".join(f", {s.name}={value}" for s, value in zip(first, values, strict=True))
    if chosen.claim == "outputs only":
        return f"""It changes no weights, so `expunge.forget` has nothing to write; `expunge.compare` judges it:

```python
from expunge import Store, Runtime, compare, method

methods = {{"{chosen.name}": method("{chosen.name}"{words})}}
compare(problem, methods, out="compared", runtime=Runtime(Store("compared/store")))
```"""  # noqa: E501 (a line of the page)
    return f"""```
expunge forget --problem mine.py:problem --model model.safetensors --rows rows.csv \\
    --method {chosen.name}{flags}
```

```python
import expunge

done = expunge.forget(model, problem, rows, method="{chosen.name}"{words})
done.model, done.cost
```"""


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *(tuple(map(_text, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(plain: str) -> str:
    """Plain text in Markdown: what it would take for its own marks is escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", plain)
    return "".join(p if p.startswith("`") else re.sub(r"([*<|\\])", r"\\\1", p) for p in parts)
