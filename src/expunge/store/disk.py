"""What the system says of a place that cannot be written, in words and with its fix."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.errors import BadInput

AGAIN = "then run the same command again: what is finished is kept"
FULL = ("room for it", f"free space there, or choose another folder; {AGAIN}")
CLOSED = ("a folder that can be written", "choose another folder, or change its permissions")
FAULTS = {  # by number of the system's error: what is expected, and the fix
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EROFS: CLOSED,
    errno.EACCES: CLOSED,
    errno.EPERM: CLOSED,
    errno.EIO: ("a disk that works", f"look after the disk, or choose a folder elsewhere; {AGAIN}"),
}


@contextmanager
def writable(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn what the system says of a place that cannot be written into words.

    Args:
        path: the place.
        doing: what is tried there, as a verb.

    Raises:
        BadInput: instead of an OSError inside, unless it names a file elsewhere: one that was read.
    """
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str | bytes) else str(path)
        named, place = Path(os.path.abspath(os.fsdecode(name))), Path(os.path.abspath(path))
        if place.parent not in named.parents and named not in place.parents:
            raise
        expected, fix = FAULTS.get(
            error.errno or 0,
            ("a folder that can be written and has room", CLOSED[1]),
        )
        raise BadInput(
            f"cannot {doing} {path} ({error.strerror or error})", expected=expected, fix=fix
        ) from error


def told(error: OSError) -> BadInput | None:
    """The words for a fault of a disk that nobody expected where it happened; else None."""
    if error.errno not in FAULTS:
        return None
    expected, fix = FAULTS[error.errno]
    place = error.filename or "a file"
    return BadInput(f"{place} cannot be used ({error.strerror})", expected=expected, fix=fix)
