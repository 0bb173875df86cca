"""Workers end with the process that gave them work."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from expunge.fanout.orphans import end_with

SCRIPT = """
import os, time
from pathlib import Path
from expunge.fanout import spread

def work(n):
    Path(f"worker-{os.getpid()}").touch()
    time.sleep(300)

if __name__ == "__main__":
    spread(work, [(n,) for n in range(6)], jobs=2, label="", progress=False)
"""


def workers(folder):
    return [int(path.name.removeprefix("worker-")) for path in folder.glob("worker-*")]


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def until(true, patience=90):
    stop = time.monotonic() + patience
    while not true():
        assert time.monotonic() < stop
        time.sleep(0.05)


@pytest.mark.slow
def test_workers_of_a_killed_process_end(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path)
    try:
        until(lambda: len(workers(tmp_path)) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not any(alive(worker) for worker in workers(tmp_path)))


def _child(parent):
    end_with(parent)
    time.sleep(1.5)


def test_a_process_whose_parent_lives_goes_on():
    child = multiprocessing.get_context("fork").Process(target=_child, args=(os.getpid(),))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_what_is_no_child_is_left_alone():
    """A worker of another engine, whose parent is another process."""
    child = multiprocessing.get_context("fork").Process(target=_child, args=(1,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_a_process_whose_parent_was_killed_while_it_began_ends():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(gone.pid,))
    child.start()
    child.join(60)
    assert child.exitcode == 1
