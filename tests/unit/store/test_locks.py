"""Locks: waited for with a word, free when their holder is killed."""

import multiprocessing
import time

import pytest
from filelock import FileLock

from expunge.errors import BadInput
from expunge.store import Store, locks
from expunge.store.locks import LOCK, acquire, exclusive, write_owner


def hold(folder):
    with exclusive(folder):
        (folder / "entered").touch()
        until(folder / "leave")


def make_slowly(folder):
    with Store(folder).making("models/a"):
        (folder / "entered").touch()
        until(folder / "leave")


def until(path):
    """Wait for a file: an Event of a process that is killed may never be free again."""
    stop = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < stop
        time.sleep(0.01)


def started(function, folder):
    process = multiprocessing.get_context("fork").Process(target=function, args=(folder,))
    process.start()
    until(folder / "entered")
    return process


@pytest.fixture
def impatient(monkeypatch):
    """Waiting is told at once; and the holder leaves as soon as it was told."""
    monkeypatch.setattr(locks, "PATIENCE", 0.05)


def leaves_when_told(folder, monkeypatch):
    told = []

    def warned(said, **_):
        told.append(said)
        (folder / "leave").touch()

    monkeypatch.setattr(locks.warnings, "warn", warned)
    return told


def test_who_waits_for_a_folder_says_for_whom(tmp_path, impatient, monkeypatch):
    process, told = started(hold, tmp_path), leaves_when_told(tmp_path, monkeypatch)
    with exclusive(tmp_path):
        process.join(60)
        assert len(told) == 1
        assert told[0].startswith(f"waiting for process {process.pid} on ")
        assert told[0].endswith(f", which writes into {tmp_path}")


def test_who_waits_for_a_result_says_which(tmp_path, impatient, monkeypatch):
    process, told = started(make_slowly, tmp_path), leaves_when_told(tmp_path, monkeypatch)
    with Store(tmp_path).making("models/a") as needed:
        assert needed
    process.join(60)
    assert told[0].startswith(f"waiting for process {process.pid} on ")
    assert told[0].endswith(", which makes models/a")


def test_the_lock_of_a_killed_process_is_free(tmp_path, impatient, monkeypatch):
    process, told = started(hold, tmp_path), leaves_when_told(tmp_path, monkeypatch)
    process.kill()
    process.join(60)
    with exclusive(tmp_path):
        pass
    assert not told


def test_a_lock_that_nobody_signed_is_held_by_another_process(tmp_path, impatient):
    held = FileLock(tmp_path / "x")
    held.acquire()

    def warned(said, **_):
        assert said == "waiting for another process, which works"
        held.release()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks.warnings, "warn", warned)
        acquire(tmp_path / "x", "works").release()


def test_what_cannot_be_signed_is_held_all_the_same(tmp_path):
    write_owner(tmp_path)  # a folder
    with exclusive(tmp_path / "new"):
        assert (tmp_path / "new" / LOCK).exists()


def test_an_error_inside_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with FileLock(tmp_path / LOCK, timeout=0):
        pass


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"cannot write .*file/\.lock"), exclusive(tmp_path / "file"):
        pass
