"""The files that people read: tables, figures, and one page that holds them all."""

from pathlib import Path

from expunge import store
from expunge.bench.content import Content
from expunge.bench.figures import figures
from expunge.bench.tables import tables
from expunge.report.bench import table
from expunge.report.bench.page import page


def render(content: Content, out: Path) -> list[Path]:
    """Write tables.md, tables.tex, one SVG a figure and index.html; returns their paths.

    Args:
        content: bench.json.
        out: folder.
    """
    grids = list(tables(content))
    drawings = list(figures(content))
    facts = {
        "problem": content["config"]["problem"],
        "seeds": ", ".join(map(str, content["config"]["seeds"])),
        "models a seed": content["config"]["members"],
        "tuning": _tuning(content),
        "rows judged": f"at most {content['config']['judged_rows']:,} of retain and of test",
        "machine": content["run"]["machine"],
        "versions": ", ".join(f"{k} {v}" for k, v in content["run"]["versions"].items()),
        "the last run took": f"{content['run']['seconds']:,.0f} s",
        "command": content["run"]["command"],
    }
    files = {
        "tables.md": "\n".join(table.markdown(grid) for grid in grids),
        "tables.tex": "\n".join(table.latex(grid) for grid in grids),
        "index.html": page(content["name"], facts, grids, drawings, failed(content)),
        **{f"{_slug(d.heading)}.svg": d.wide for d in drawings},
    }
    for name, text in files.items():
        store.write_bytes(out / name, text.encode())
    return [out / name for name in files]


def failed(content: Content) -> dict[str, str]:
    """Settings that could not be tried, by forget set and method."""
    found = {}
    for choice in content["choices"]:
        reasons = [trial["failed"] for trial in choice["trials"] if trial["failed"]]
        if reasons:
            where = f"{choice['method']}, {choice['forget_set']}"
            found[where] = f"{len(reasons)} of {len(choice['trials'])} trials: {reasons[0]}"
    return found


def _tuning(content: Content) -> str:
    tuning = content["config"]["tuning"]
    if not tuning:
        return "none: one setting a method"
    return (
        f"{tuning['trials']} trials a method, each at most {tuning['budget']:g} of one retraining, "
        f"on models of seed {tuning['seed']}"
    )


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-")
