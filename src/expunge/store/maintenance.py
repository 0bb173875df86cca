"""What a store holds, what of it is damaged, and what can go."""

import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from expunge.errors import BadInput, nearest
from expunge.store import PARTIAL, Store
from expunge.store.disk import writable

KINDS = {  # of results; everything but "attributions" is made again when it is missing
    "recipes": "names of recipes, by what they do",
    "groups": "how many members of a recipe train at once, and why",
    "processes": "how many processes train a recipe's models fastest",
    "models": "trained models, a block each",
    "outputs": "what half-data models answer, a block each",
    "attributions": "which half-data models belong together",
    "steps": "how weights would move without some rows, as linearised retraining predicts",
    "observed": "what trained models answer on the rows that judge",
    "unlearned": "what models answer after a method",
    "watched": "margins along a method",
    "tracked": "unlearning errors along a training",
    "unrolled": "verification and unlearning errors of a training",
    "checkpoint": "trainings that were killed, to be gone on with",
}
LOCKS = "locks"
DAY = 86_400.0
WRITING = 3_600.0  # seconds: a file that has been unfinished for longer is left over


class Held(NamedTuple):
    """One result."""

    key: str
    bytes: int
    changed: float  # seconds since 1970, by the clock of the machine that wrote it


def held(store: Store) -> list[Held]:
    """Every result, by kind and key; results of which a file is missing are none."""
    keys = (key for kind in kinds(store) for key in store.keys(kind))
    return [one for key in keys if (one := _held(store, key))]


def _held(store: Store, key: str) -> Held | None:
    """One result as it is now; None where a file of it is missing."""
    stats = [_stat(path) for path in store.paths(key)]
    there = [s for s in stats if s is not None]
    if len(there) < len(stats):
        return None
    return Held(key, sum(s.st_size for s in there), max(s.st_mtime for s in there))


def _stat(path: Path) -> os.stat_result | None:
    """None where the file is gone: another run may have taken it away a moment ago."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def kinds(store: Store) -> list[str]:
    """The kinds that a store has, in the order of KINDS, others behind them."""
    if not store.root.is_dir():
        raise BadInput(
            f"there is no store at {store.root}",
            expected="the folder that --store named when results were made; .expunge by default",
            fix="name it with --store",
        )
    own = sorted(path.name for path in store.root.iterdir() if path.is_dir())
    own = [name for name in own if name != LOCKS]
    return [*(name for name in KINDS if name in own), *(n for n in own if n not in KINDS)]


def damaged(store: Store) -> Iterator[tuple[Held, bool]]:
    """Each result, and whether its checksums are wrong; reads all of it, drops nothing."""
    for one in held(store):
        yield one, store.facts(one.key) is None


def leftovers(store: Store) -> list[Path]:
    """Files that no result needs: half of a result, writing that was killed, locks that are free.

    What was touched within the hour is left alone, since it may be at work.
    """
    whole = {path for one in held(store) for path in store.paths(one.key)}
    old = time.time() - WRITING  # a clock that was put back makes files younger, never older
    found = [
        path
        for kind in kinds(store)
        for path in sorted((store.root / kind).iterdir())
        if path not in whole and path.suffix in (".json", ".safetensors", "")
        if path.name.startswith(PARTIAL) or path.suffix
    ]
    found = [path for path in found if (s := _stat(path)) and s.st_mtime < old]
    return found + [lock for lock in sorted((store.root / LOCKS).glob("*.lock")) if _free(lock)]


def chosen(store: Store, which: Collection[str], days: float | None) -> list[Held]:
    """Results of some kinds (none named: all) that have not changed for so many days.

    Raises:
        BadInput: an unknown kind, or a number of days below zero.
    """
    for kind in which:
        if kind not in KINDS:
            raise BadInput(
                f"unknown kind '{kind}'{nearest(kind, KINDS)}",
                expected=f"one of {', '.join(KINDS)}",
                fix="correct the name; `expunge store size` lists what there is",
            )
    if days is not None and not days >= 0:
        raise BadInput(
            f"results older than {days} days", expected="at least 0 days", fix="correct the number"
        )
    now = time.time()
    latest = now - (days or 0.0) * DAY
    return [
        one
        for one in held(store)
        if not which or one.key.partition("/")[0] in which
        if days is None or one.changed < latest
        # a training that was kept a moment ago may be running
        if not one.key.startswith("checkpoint/") or not now - WRITING < one.changed < now + WRITING
    ]


def drop(store: Store, results: Collection[Held], files: Collection[Path] = ()) -> None:
    """Remove results, each while nobody makes it and if it is as it was found, and files."""
    for one in results:
        with store.making(one.key):
            if one == _held(store, one.key):
                store.remove(one.key)
    for path in files:
        with writable(path, "remove"):
            if path.suffix != ".lock":
                path.unlink(missing_ok=True)
            elif path.is_file():
                with suppress(Timeout), FileLock(path, timeout=0):  # or somebody took it since
                    path.unlink(missing_ok=True)


def _free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except OSError:  # held by a process, or nothing can be written there; Timeout is one, too
        return False
