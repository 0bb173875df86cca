"""`expunge methods`: what there is to choose from."""

import typer


def methods(
    json: bool = typer.Option(False, "--json", help="As JSON, for programs."),
) -> None:
    """List all methods with their source, claim, needs and settings."""
    import inspect
    from json import dumps

    from rich.console import Console

    from expunge.methods import METHODS, settings

    rows = [
        {
            "name": name,
            "what": inspect.getdoc(kind).splitlines()[0],  # type: ignore[union-attr]
            "source": kind.source,
            "claim": str(kind.claim),
            "needs": sorted(kind.needs),
            "settings": settings(kind()),
        }
        for name, kind in METHODS.items()
    ]
    if json:
        print(dumps(rows, indent=2))
        return
    console = Console(highlight=False)
    for row in rows:
        flags = "  ".join(f"--{name} {value}" for name, value in row["settings"].items())
        console.print(f"[bold]{row['name']}[/bold]  {row['what']}")
        console.print(f"    claim     {row['claim']}")
        console.print(f"    needs     {_needs(row['needs'])}")
        console.print(f"    settings  {flags or 'none'}", markup=False)
        console.print(f"    source    {row['source']}", markup=False)


NEEDS = {
    "recipe": "a recipe or Trainer in the problem",
    "change": "an attribution (half-data models, trained once and kept)",
    "teachers": "a retrained model as teacher",
}


def _needs(needs: list[str]) -> str:
    return ", ".join(NEEDS[need] for need in needs) or "nothing but the model and its data"
