"""A worker ends with the process that gave it work, though that was killed and told nobody.

Else it would finish what it was given, holding locks that the next run waits for, and then idle for
minutes.
"""

import os
import time
from functools import cache
from threading import Thread

EVERY = 0.5  # seconds from one look to the next


@cache
def end_with(parent: int) -> None:
    """From now on this process ends when `parent` has, of which it is a child.

    Whatever is no child of it is left alone. So is all on Windows, where a child does not see that
    its parent has ended.
    """
    if os.getppid() == parent:
        Thread(target=_watch, args=(parent,), daemon=True).start()
    elif os.name == "posix" and not _lives(parent):  # killed while this process began
        os._exit(1)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY)
    os._exit(1)  # at once: what is being written takes its place whole or not at all
