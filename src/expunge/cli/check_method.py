"""`expunge check-method`: whether a method keeps the laws that all methods keep."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer


def check_method(
    named: str = typer.Argument(..., metavar="METHOD", help="MODULE:CLASS, or a known name."),
    law: list[str] = typer.Option(None, help="Try this law only; may be given several times."),
    traceback: bool = typer.Option(False, "--traceback", help="Show where each test failed."),
) -> None:
    """Run the contract suite on one method: yours, in a package of your own, or a known one.

    First the form of the class, then law by law what it does. Exit code 0 if every law is kept,
    1 if one is broken, 2 if the class cannot be loaded.
    """
    from rich.console import Console

    from expunge.errors import BadInput, nearest
    from expunge.methods.validate_class import validate_class

    for tool in ("pytest", "pytest_timeout"):
        if find_spec(tool) is None:
            raise BadInput(
                f"{tool} is not installed",
                expected="what the contract suite needs",
                fix="run `pip install 'expunge[check]'`",
            )
    console = Console(highlight=False)
    kind = load_method(named)
    wrong = validate_class(kind) or unknown_laws(kind)
    if wrong:
        console.print(f"[red]{named} is no method yet[/red]; the laws are tried when it is:")
        for fault in wrong:
            console.print(f"- {fault.what}: {fault.fix}.", markup=False)
        raise typer.Exit(1)

    from expunge.contract.check import check
    from expunge.contract.laws import LAWS

    for name in law or ():
        if name not in LAWS:
            raise BadInput(
                f"there is no law '{name}'{nearest(name, LAWS)}",
                expected=f"one of {', '.join(LAWS)}",
                fix="correct --law",
            )
    with console.status(f"Trying the laws on {kind.name}: ten seconds or so"):
        verdicts = check(kind, law or LAWS)
    console.print(f"[bold]{kind.name}[/bold]  {(kind.__doc__ or '').partition(chr(10))[0]}")
    console.print(verdict_table(verdicts))
    if traceback:
        for trace in (trace for verdict in verdicts for trace in verdict.traces):
            console.print(trace, markup=False)
    counts = {state: sum(v.state == state for v in verdicts) for state in STYLES}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    console.print(f"{kind.name}: of {len(verdicts)} laws {told}.")
    if counts["broken"]:
        if not traceback:
            console.print("`--traceback` shows where each test failed.")
        raise typer.Exit(1)


STYLES = {"kept": "green", "broken": "red", "exempt": "yellow", "not asked": "dim"}


def verdict_table(verdicts: list[Any]) -> Any:
    """A row a law: how it went, what it says, and why it is broken or not asked for."""
    from rich.markup import escape
    from rich.table import Table

    from expunge.contract.laws import LAWS

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in ("state", "law"):
        table.add_column(no_wrap=True)
    table.add_column()
    for verdict in verdicts:
        law, state = LAWS[verdict.law], verdict.state
        lines = [law.says]
        lines += [f"exempt: {verdict.exempt}"] if state == "exempt" else []
        if state == "broken":
            lines += [*verdict.broken[:3], *(["..."] if len(verdict.broken) > 3 else [])]
            lines += [f"usual fix: {law.fix}"]
        style = STYLES[state]
        table.add_row(f"[{style}]{state}[/{style}]", verdict.law, escape("\n".join(lines)))
    return table


def load_method(named: str) -> Any:
    """The class that is named MODULE:CLASS, or the method of a known name.

    Raises:
        BadInput: no such module, or nothing of this name in it; an unknown name.
    """
    from expunge.errors import BadInput, nearest
    from expunge.methods import METHODS

    module, colon, name = named.partition(":")
    if not colon:
        return METHODS.named(named)
    sys.path.insert(0, str(Path.cwd()))  # as when Python is started here
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # a module that theirs imports
        raise BadInput(
            f"there is no module '{error.name}'",
            expected="MODULE:CLASS as Python imports it, e.g. mypackage.mymethod:MyMethod",
            fix="correct the name, install the package, or run this where it lies",
        ) from None
    if name not in vars(loaded):
        raise BadInput(
            f"{module} has no '{name}'{nearest(name, vars(loaded))}",
            expected="the class of a method",
            fix="correct the name",
        )
    return vars(loaded)[name]


def unknown_laws(kind: Any) -> list[Any]:
    """What is wrong with the laws that a class says it is exempt from."""
    from expunge.contract.laws import LAWS
    from expunge.errors import nearest
    from expunge.registry import Fault

    return [
        Fault(f"its exempt names no law: '{law}'{nearest(law, LAWS)}", f"of {', '.join(LAWS)}")
        for law in getattr(kind, "exempt", {})
        if law not in LAWS
    ]
