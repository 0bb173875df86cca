"""`expunge explain`: what a name means, and its settings."""

from importlib import import_module
from typing import Any

import typer

PLACES = (  # of each registry
    ("expunge.methods", "METHODS"),
    ("expunge.methods", "MASKS"),
    ("expunge.attribution", "ATTRIBUTIONS"),
    ("expunge.forget_sets", "FORGET_SETS"),
    ("expunge.zoo.problems", "PROBLEMS"),
    ("expunge.problem", "TASKS"),
    ("expunge.audit.metrics", "METRICS"),
)


def explain(
    named: str = typer.Argument(None, metavar="NAME", help="e.g. trak, or all of: 'forget set'."),
) -> None:
    """Describe what goes by a name, with its settings; or list all names.

    Settings are written after the name: trak:dimension=512,damping=0.01.
    """
    from rich.console import Console
    from rich.padding import Padding

    from expunge.cli.method_help import settings_table
    from expunge.errors import BadInput, nearest

    console = Console(highlight=False)
    registries = [getattr(import_module(module), name) for module, name in PLACES]
    if named is None:
        for registry in registries:
            console.print(f"[bold]{registry.noun}[/bold]  {', '.join(registry)}")
        return
    found = [
        (registry, name)
        for registry in registries
        for name in registry
        if named in (name, registry.noun)
    ]
    if not found:
        known = [word for registry in registries for word in (registry.noun, *registry)]
        raise BadInput(
            f"nothing goes by the name '{named}'{nearest(named, known)}",
            expected="a name that `expunge explain` lists",
            fix="correct the name",
        )
    for registry, name in found:
        console.print(f"[bold]{registry.noun} {name}[/bold]  {_first_line(registry[name])}")
        settings = registry.settings(name) if isinstance(registry[name], type) else []
        if settings:
            console.print(Padding(settings_table(settings, flags=False), (0, 0, 0, 4)))
        console.print()


def _first_line(entry: Any) -> str:
    """What a class does, or what a metric measures."""
    from rich.markup import escape

    text = getattr(entry, "definition", None) or entry.__doc__ or ""
    return escape(text.partition("\n")[0])
