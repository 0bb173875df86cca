"""Full disks and folders that cannot be written: told with the fix, and nothing is lost."""

import contextlib
import errno
import itertools
import os
import random
import subprocess
import tempfile
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from expunge.errors import BadInput
from expunge.rng import seeded
from tests.cli.killing import begin, compare, ended, kept
from tests.cli.small import COMMANDS, TIMED, place
from tests.shell import run

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NUMBERS = (*FULL, errno.EROFS, errno.EACCES, errno.EIO)


def work(name, folder):
    """Run one of COMMANDS in this process: exit code and what it says of errors."""
    words = COMMANDS[name]
    if words[0] != "compare":
        return run(*words, cwd=folder)
    try:
        with contextlib.chdir(folder):
            compare(*words[1:])
    except BadInput as error:
        return SimpleNamespace(returncode=2, stderr=f"{error}")
    return SimpleNamespace(returncode=0, stderr="")


def unfinished(folder):
    """Files that were not written to their end."""
    return [path for path in folder.rglob(".*") if "partial" in path.name]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Folders in which each command was left in peace."""
    folder = tmp_path_factory.mktemp("calm")
    assert run(*TIMED, cwd=place(folder / "timed", folder)).returncode == 0
    return folder


class Faulty:
    """The disk refuses the write, or the renaming, that has some number; once."""

    def __init__(self, monkeypatch, at, number):
        self.at, self.number, self.calls, self.happened = at, number, 0, False
        for module, name in ((tempfile, "mkstemp"), (os, "replace")):
            monkeypatch.setattr(module, name, self.refusing(getattr(module, name)))

    def refusing(self, then):
        def call(*words, **named):
            self.calls += 1
            if self.calls == self.at:
                self.happened = True
                raise OSError(self.number, os.strerror(self.number))
            return then(*words, **named)

        return call


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "compared-by-two"])
def test_whichever_write_fails_it_is_told_and_the_work_goes_on_afterwards(
    calm, tmp_path, monkeypatch, name
):
    peace = place(calm / name, calm, name)
    assert work(name, peace).returncode == 0
    torn, draw, validate_class = place(tmp_path / "torn", calm, name), random.Random(name), 0
    for number in itertools.cycle(NUMBERS):
        with monkeypatch.context() as patch:
            # later and later, since a training that is younger than a minute begins anew
            faulty = Faulty(patch, draw.randint(1, 8 * 2**validate_class), number)
            done = work(name, torn)
        if not faulty.happened:
            break
        validate_class += 1
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert f"({os.strerror(number)})" in done.stderr
        assert ("free space there" in done.stderr) == (number in FULL)
        assert ("again: what is finished is kept" in done.stderr) == (number in (*FULL, errno.EIO))
        assert not unfinished(torn)
    assert done.returncode == 0, done.stderr
    assert validate_class > 1
    assert kept(torn / name) == kept(peace / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "compared-by-two"])
def test_no_file_may_be_larger_than_a_limit(calm, tmp_path, name):
    """What the system itself says: a limit is as a full disk."""
    peace = calm / name
    if not peace.exists():
        assert ended(begin(COMMANDS[name], place(peace, calm, name)))
    torn = place(tmp_path / "torn", calm, name)
    process = begin(COMMANDS[name], torn, limit=2000)
    process.join(300)
    said = (torn / "log").read_text()
    assert process.exitcode == 2, said
    assert "Traceback" not in said
    assert "(File too large)" in said
    assert "free space there" in said
    assert not unfinished(torn)
    assert ended(begin(COMMANDS[name], torn))
    assert kept(torn / name) == kept(peace / name)


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, and how to mount it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options, *more):
        words = ["mount", "-t", "tmpfs", *more, "-o", options, "none", str(folder)]
        return subprocess.run(words, capture_output=True).returncode == 0

    if not mounted("size=16k"):
        pytest.skip("this user may not mount file systems")
    yield folder, lambda options: mounted(f"remount,{options}")
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def model(tmp_path):
    """A folder with a problem and a model."""
    folder = place(tmp_path / "work", tmp_path)
    with seeded(0):
        module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    torch.save(module.state_dict(), folder / "model.pt")
    return folder


def forget(folder, disk):
    ask = ("forget", "--problem", "mine.py:problem", "--model", "model.pt", "--rows", "rows.csv")
    where = ("--out", disk / "out", "--store", disk / "store", "--jobs", 1)
    return run(*ask, "--method", "retrain", *where, cwd=folder)


def test_a_full_disk_is_told_and_with_room_the_same_command_ends(model, disk):
    place, again = disk
    (place / "large").write_bytes(bytes(9000))
    full = forget(model, place)
    assert full.returncode == 2
    assert "(No space left on device)" in full.stderr
    assert "free space there, or choose another folder; then run the same command" in full.stderr
    assert "Traceback" not in full.stderr
    assert not unfinished(place)
    assert not (place / "out/model.safetensors").exists()
    assert again("size=10m")
    assert forget(model, place).returncode == 0
    assert forget(model, model).returncode == 0
    same = [(folder / "out/model.safetensors").read_bytes() for folder in (model, place)]
    assert same[0] == same[1]


def test_a_store_that_can_only_be_read_serves_what_it_holds(model, disk):
    place, again = disk
    attribution = ("--kind", "combined", "--models", 30, "--jobs", 1, "--store", place / "store")
    ask = ("attribute", "--problem", "mine.py:problem", *attribution)
    assert again("size=20m")
    assert run(*ask, "--out", model / "one.zip", cwd=model).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    assert again("ro")
    done = run(*ask, "--out", model / "two.zip", cwd=model)
    assert done.returncode == 0, done.stderr
    assert "found in the store" in done.stdout
    assert (model / "one.zip").read_bytes() == (model / "two.zip").read_bytes()
    assert before == {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    missing = run(*ask[:-2], "--store", place / "store", "--seed", 1, "--out", "x", cwd=model)
    assert missing.returncode == 2
    assert "cannot write" in missing.stderr
    assert "(Read-only file system)" in missing.stderr
    assert "choose another folder, or change its permissions" in missing.stderr
    closed = run(*ask, "--out", place / "two.zip", cwd=model)
    assert (closed.returncode, "(Read-only file system)" in closed.stderr) == (2, True)
    pruned = run("store", "prune", "--kind", "outputs", "--store", place / "store", cwd=model)
    assert pruned.returncode == 2
    assert "cannot remove" in pruned.stderr
    whole = run("store", "check", "--store", place / "store", cwd=model)
    assert whole.returncode == 0


def test_a_damaged_result_of_a_store_that_can_only_be_read_is_told(model, disk):
    place, again = disk
    assert again("size=20m")
    ask = ("attribute", "--problem", "mine.py:problem", "--models", 30, "--jobs", 1)
    ask = (*ask, "--store", place / "store", "--out")
    assert run(*ask, place / "x.zip", cwd=model).returncode == 0
    damaged = sorted(place.glob("store/outputs/*.safetensors"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert again("ro")
    told = run(*ask, "x.zip", cwd=model)
    assert told.returncode == 2
    assert "is damaged" in told.stderr
    assert "cannot remove" in told.stderr
    assert "Traceback" not in told.stderr
