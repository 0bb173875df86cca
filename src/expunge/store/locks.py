"""Locks between the processes of one machine; that of a killed process is free."""

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from expunge.store.disk import writable

PATIENCE = 5.0  # seconds of waiting before it is said
LOCK = ".lock"  # in a folder of results


def acquire(path: Path, what: str) -> FileLock:
    """The lock at a path, held by this process; whoever holds it is waited for, and named.

    Args:
        path: of the lock's file, which stays.
        what: what a holder does, e.g. "makes models/aa".

    Raises:
        BadInput: the place cannot be written.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            warnings.warn(f"waiting for {_holder(path)}, which {what}", stacklevel=3)
            lock.acquire()
    return lock


def write_owner(path: Path) -> None:
    """Write down who holds a lock, for those who wait."""
    with suppress(OSError):  # only words; some systems let nobody write a locked file
        path.write_text(f"process {os.getpid()} on {platform.node()}")


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Inside, no other process that asks for the same writes its results into a folder.

    Raises:
        BadInput: the folder cannot be written.
    """
    lock = acquire(folder / LOCK, f"writes into {folder}")
    try:
        write_owner(folder / LOCK)
        yield
    finally:
        lock.release()


def _holder(path: Path) -> str:
    """Who signed a lock last."""
    with suppress(OSError, ValueError):
        return path.read_text() or "another process"
    return "another process"
