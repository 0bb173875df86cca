"""Damaged files of every kind that is read back: told with the fix, or made again; never used."""

import random
import shutil
from pathlib import Path

import pytest

from tests.cli.killing import kept
from tests.cli.small import COMMANDS, TIMED, place
from tests.shell import run

ASK = ("--problem", "mine.py:problem", "--store", "store", "--jobs", 1)
ASK = (*ASK, "--model", "trained/model.safetensors", "--rows", "rows.csv")
HISTORY = ("--problem", "mine.py:long", *ASK[2:], "--out", "x")
UNLEARNED = ("--unlearned", "forgotten/model.safetensors", "--out", "x")
READERS = {  # of each kind of file: where it lies, and a command that reads it
    "model": ("trained/model.safetensors", ("forget", *ASK, "--method", "fine-tune", "--out", "x")),
    "unlearned model": ("forgotten/model.safetensors", (*COMMANDS["judged"][:-1], "x")),
    "card": ("forgotten/model.card.json", (*COMMANDS["judged"][:-1], "x")),
    "history": (
        "trained/model.history.json",
        ("forget", *HISTORY, "--method", "single-gradient"),
    ),
    "recorded step": (
        "trained/updates/step-*.safetensors",
        ("forget", *HISTORY, "--method", "amnesiac"),
    ),
    "attribution": (
        "fitted/attribution.zip",
        ("forget", *ASK, "--method", "dmm", "--attribution", "fitted/attribution.zip")
        + ("--out", "x"),
    ),
    "evidence": ("judged/evidence/oracle.safetensors", ("verify", "judged")),
    "manifest": ("judged/evidence/manifest.json", ("verify", "judged")),
    "evidence judged again": (
        "judged/evidence/oracle.safetensors",
        ("audit", "--evidence", "judged", "--out", "x"),
    ),
    "audit": ("judged/audit.json", ("verify", "judged")),
    "answers": ("benched/evidence/0/oracle.safetensors", ("verify", "benched")),
    "bench": ("benched/bench.json", ("verify", "benched")),
    "bench drawn": ("benched/bench.json", ("bench", "--draw", "--out", "benched")),
    "watched": ("benched/stopping.safetensors", ("verify", "benched")),
}
STORED = ("recipes", "groups", "models", "outputs", "attributions", "observed", "unlearned")


def cut(content, draw):
    return content[: draw.randrange(1, len(content))]


def flipped(content, draw):
    place, bit = draw.randrange(len(content)), 1 << draw.randrange(7)
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def zeroed(content, draw):
    """A block that a disk lost."""
    place = draw.randrange(len(content))
    size = len(content[place : place + 512])
    return content[:place] + bytes(size) + content[place + size :]


DAMAGES = {
    "emptied": lambda content, draw: b"",
    "cut": cut,
    "flipped": flipped,
    "zeroed": zeroed,
    "another": lambda content, draw: b'["of another kind"]',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which every command has run."""
    made = place(tmp_path_factory.mktemp("damage") / "x", Path())
    assert run(*TIMED, cwd=made).returncode == 0
    with (made / "small.toml").open("a") as config:
        config.write('[stopping]\nmethods = ["fine-tune"]\n')
    for name in ("trained", "forgotten", "judged", "fitted", "benched"):
        words = COMMANDS[name]
        if name == "benched":  # apart, as its store would serve half of the others
            words = (*words[:-1], "other store")
        done = run(*words, cwd=made)
        assert done.returncode == 0, done.stderr
    return made


def read(words, folder, store):
    """Run a command that reads, on a copy of a store."""
    shutil.rmtree(folder / "x", ignore_errors=True)
    shutil.rmtree(folder / "copied", ignore_errors=True)
    shutil.copytree(folder / store, folder / "copied")
    return run(*("copied" if word == "store" else word for word in words), cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_told_by_its_name_and_with_a_cure(folder, kind, damage):
    """A flipped bit may also leave what is read as it was: then the same comes out."""
    where, words = READERS[kind]
    path, draw = sorted(folder.glob(where))[0], random.Random(f"{kind} {damage}")
    whole = path.read_bytes()
    store = "timed" if kind == "attribution" else "store"  # of which nothing is needed then
    if kind == "attribution":
        (folder / "timed").mkdir(exist_ok=True)
        for one in ("recipes", "groups"):
            shutil.copytree(folder / "store" / one, folder / "timed" / one, dirs_exist_ok=True)
    good = read(words, folder, store)
    assert good.returncode == 0, good.stderr
    result = kept(folder / "x") if (folder / "x").exists() else None
    for _ in range(4 if damage in ("cut", "flipped", "zeroed") else 1):
        try:
            path.write_bytes(DAMAGES[damage](whole, draw))
            done = read(words, folder, store)
        finally:
            path.write_bytes(whole)
        assert "Traceback" not in done.stderr
        if words[0] == "verify" and done.returncode == 1:
            assert "do not follow from" in done.stdout  # it says which numbers
        elif done.returncode == 2:
            assert "Fix:" in done.stderr
            names = (path.name, path.parent.name)
            assert any(name in done.stderr for name in names), done.stderr
        else:
            assert damage in ("flipped", "zeroed")
            assert done.returncode == 0, done.stderr
            assert result is None or kept(folder / "x") == result


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("kind", STORED)
def test_a_damaged_result_of_a_store_is_made_again(folder, tmp_path, kind, ending):
    draw, name = random.Random(kind + ending), "benched" if kind == "unlearned" else "judged"
    if kind in ("outputs", "attributions"):
        name = "forgotten"
    words, store = COMMANDS[name], "other store" if name == "benched" else "store"
    peace = kept(folder / name)
    for damage in ("emptied", "cut", "flipped", "zeroed"):
        torn = place(tmp_path / damage, Path())
        shutil.copyfile(folder / "small.toml", torn / "small.toml")
        for other in ("trained", "forgotten"):
            if other != name:
                shutil.copytree(folder / other, torn / other)
        shutil.copytree(folder / store, torn / "store")
        path = draw.choice(sorted((torn / "store" / kind).glob(f"*.{ending}")))
        path.write_bytes(DAMAGES[damage](path.read_bytes(), draw))
        done = run(*words, cwd=torn)
        if done.returncode == 2:  # a half-data model that was found to be damaged on the way
            assert "run the same command again" in done.stderr, done.stderr
            done = run(*words, cwd=torn)
        assert done.returncode == 0, done.stderr
        if kind != "groups":  # timed anew
            assert kept(torn / name) == peace
