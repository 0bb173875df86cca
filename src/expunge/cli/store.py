"""`expunge store`: what the folder of kept results holds, and its care."""

from pathlib import Path

import typer

store = typer.Typer(
    help="Look after a store: the folder in which models and what they answered are kept.",
    no_args_is_help=True,
)
WHERE = typer.Option(Path(".expunge"), "--store", help="The folder.")
KIND = typer.Option([], "--kind", help="Only results of this kind; may be named again.")


@store.command()
def ls(where: Path = WHERE, kind: list[str] = KIND) -> None:
    """List results: when they were written, how large they are, and what they are of."""
    from rich.console import Console

    from expunge.store import Store
    from expunge.store import maintenance as keeping

    console = Console(highlight=False, soft_wrap=True)
    here = Store(where)
    for one in keeping.chosen(here, kind, None):
        facts = here.facts(one.key)
        what = "damaged" if facts is None else _of(facts)
        console.print(f"{_day(one.changed)} {_size(one.bytes):>9}  {one.key}  {what}".rstrip())


@store.command()
def size(where: Path = WHERE) -> None:
    """How many results of each kind there are, and how much room they take."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from expunge.store import Store
    from expunge.store import maintenance as keeping

    here = Store(where)
    found = keeping.held(here)
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("kind", "what"):
        table.add_column(heading)
    for heading in ("results", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for kind in keeping.kinds(here):
        own = [one for one in found if one.key.partition("/")[0] == kind]
        room = _size(sum(one.bytes for one in own))
        table.add_row(kind, keeping.KINDS.get(kind, ""), f"{len(own):,}", room)
    table.add_section()
    table.add_row("all", "", f"{len(found):,}", _size(sum(one.bytes for one in found)))
    Console(highlight=False).print(table)


@store.command()
def check(where: Path = WHERE) -> None:
    """Read every result and compare it with its checksum.

    Exit code 0 if all are whole, 1 if some are damaged. Damaged ones are made again by the command
    that needs them; `expunge store prune` removes them.
    """
    from expunge.fanout import bar
    from expunge.store import Store
    from expunge.store import maintenance as keeping

    here, bad = Store(where), []
    with bar("Reading results", len(keeping.held(here)), True) as advance:
        for one, wrong in keeping.damaged(here):
            bad += [one] if wrong else []
            advance(1)
    for one in bad:
        print(f"damaged: {one.key}")
    if bad:
        print(f"{len(bad)} results of the store at {where} are damaged.")
        raise typer.Exit(1)
    print(f"Every result of the store at {where} is whole.")


@store.command()
def prune(
    where: Path = WHERE,
    kind: list[str] = KIND,
    older: float = typer.Option(
        None, min=0, metavar="DAYS", help="Only results that are older than so many days."
    ),
    dry_run: bool = typer.Option(False, help="Say what would be removed, and remove nothing."),
) -> None:
    """Remove what no command needs: damaged results, parts of files, locks that are free.

    With --kind or --older also whole results, which are made again where they are needed; what that
    costs is your choice. What another run is writing is left alone.
    """
    from expunge.store import Store
    from expunge.store import maintenance as keeping

    here = Store(where)
    files = keeping.leftovers(here)
    results = [one for one, wrong in keeping.damaged(here) if wrong]
    if kind or older is not None:
        known = {one.key for one in results}
        results += [one for one in keeping.chosen(here, kind, older) if one.key not in known]
    room = sum(one.bytes for one in results) + sum(path.stat().st_size for path in files)
    if not dry_run:
        keeping.drop(here, results, files)
    said = "Would remove" if dry_run else "Removed"
    print(f"{said} {len(results):,} results and {len(files):,} other files, {_size(room)}.")


def _of(facts: dict) -> str:
    """What a result is of, in a few words."""
    members = facts.get("members")
    if isinstance(members, list) and members:
        members = f"members {members[0]} to {members[-1]}"
    elif isinstance(members, int):
        members = f"{members} models"
    words = [facts.get("role"), facts.get("method"), members, facts.get("failed")]
    return ", ".join(str(word) for word in words if word)


def _day(seconds: float) -> str:
    from datetime import datetime

    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):  # of a clock that was far wrong
        return f"{'no known day':<16}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
