"""`expunge methods`: what there is to choose from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer


def methods(
    json: bool = typer.Option(False, "--json", help="As JSON, for programs: all there is to say."),
    docs: Path = typer.Option(
        None, metavar="DIR", help="Write a page for each method, and an index."
    ),
) -> None:
    """List all methods with their claim, needs, settings and source.

    `expunge forget --method NAME --help` says more about one.
    """
    from json import dumps

    from rich.console import Console
    from rich.padding import Padding

    from expunge.cli.method_help import needs, settings_table
    from expunge.contract.cases import exemptions
    from expunge.methods import METHODS
    from expunge.methods.describe import about

    found = [(about(kind), exemptions(kind)) for kind in METHODS.values()]
    if json:
        print(dumps([as_json(*pair) for pair in found], indent=2))
        return
    if docs is not None:
        from expunge.cli.method_pages import write_pages

        print(f"Wrote {len(write_pages(found, docs))} pages into {docs}.")
        return
    console = Console(highlight=False)
    for chosen, _ in found:
        console.print(f"[bold]{chosen.name}[/bold]  {chosen.what}")
        console.print(f"    claim     {chosen.claim}")
        console.print(f"    needs     {needs(chosen)}")
        console.print(f"    source    {chosen.source}", markup=False)
        if chosen.settings:
            console.print(Padding(settings_table(chosen.settings), (0, 0, 0, 4)))
        console.print()
    console.print("`expunge forget --method NAME --help` says more about one.")


def as_json(chosen: Any, exempt: dict[str, str]) -> dict[str, Any]:
    """All that is to be said about a method, and the laws it need not obey, as JSON has it."""
    settings = [
        {**asdict(s), "kind": s.kind.__name__, "flag": s.flag, "allowed": s.allowed}
        for s in chosen.settings
    ]
    return {**asdict(chosen), "settings": settings, "exempt": exempt}
