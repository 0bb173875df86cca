"""What a method is and what each of its settings does, on the terminal."""

from typing import Any

from typer.core import TyperCommand


class MethodHelp(TyperCommand):
    """A command whose `--help` also explains the method that `--method` names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note the method first: `--help` is answered before other options are read."""
        for word, following in zip(args, [*args[1:], ""], strict=True):
            flag, equals, value = word.partition("=")
            if flag == "--method":
                ctx.meta["method"] = value if equals else following
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of the command, then that of the method.

        Raises:
            BadInput: an unknown method.
        """
        named = ctx.meta.get("method")
        if named is None:
            super().format_help(ctx, formatter)
            return
        from rich.console import Console

        from expunge.methods import METHODS
        from expunge.methods.describe import about

        chosen = about(METHODS.named(named))
        super().format_help(ctx, formatter)
        explain(Console(highlight=False), chosen)


def explain(console: Any, chosen: Any) -> None:
    """Print all that is to be said about a method, readable at 80 columns."""
    from rich.padding import Padding
    from rich.table import Table

    console.print(f"[bold]Method {chosen.name}[/bold]: {chosen.what}\n")
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column()
    for heading, text in paragraphs(chosen):
        facts.add_row(heading, text)
    console.print(Padding(facts, (0, 0, 1, 2)))
    if chosen.settings:
        console.print(Padding(settings_table(chosen.settings), (0, 0, 1, 2)))
    else:
        console.print("  It has no settings.\n")


def paragraphs(chosen: Any) -> list[tuple[str, str]]:
    """What there is to say besides the settings: (heading, text) pairs, none empty."""
    from rich.markup import escape

    said = [
        ("does", chosen.title),
        ("source", chosen.origin or chosen.source),
        ("differs", chosen.differs),
        ("claim", chosen.claim),
        ("needs", needs(chosen)),
        ("cost", chosen.cost),
    ]
    return [(heading, escape(text)) for heading, text in said if text]


def needs(chosen: Any) -> str:
    """What a method is handed besides the model and its data, in words."""
    from expunge.methods.validate_class import NEEDS

    return ", ".join(NEEDS[need] for need in chosen.needs) or "nothing but the model and its data"


def settings_table(settings: Any, flags: bool = True) -> Any:
    """A table of flag or name, default, unit, meaning and typical range."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("setting", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("meaning", ratio=3)
    table.add_column("typical", ratio=2)
    for s in settings:
        typical = s.typical or (", ".join(s.choices) if s.choices else "")
        table.add_row(
            s.flag if flags else s.name, shown(s.default), s.unit, escape(s.what), typical
        )
    return table


def shown(value: Any) -> str:
    """A default as the command line takes it."""
    from expunge.registry import REQUIRED

    if value is REQUIRED:
        return "required"
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else f"{value}"
