"""Store: whole results or none, whatever happens on the way."""

import errno
import json
import multiprocessing
import os
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from expunge import store
from expunge.errors import BadInput
from expunge.store import Store, digest, key, write_bytes, write_json, write_tensors

TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor([1, 2]), "e": torch.empty(0, 3)}
FACTS = {"cost": {"seconds": 0.5}, "members": [0, 1], "name": "ä"}


@pytest.fixture
def kept(tmp_path):
    made = Store(tmp_path)
    made.save("models/a", TENSORS, FACTS)
    return made


def test_what_is_saved_is_loaded(kept):
    found = kept.load("models/a")
    assert found.facts == FACTS
    assert found.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype == tensor.dtype


def test_strange_tensors_are_saved_as_they_look(tmp_path):
    made = Store(tmp_path)
    base = torch.arange(12.0).reshape(3, 4)
    odd = {"t": base.T, "x": base[0].expand(5, 4), "g": base.clone().requires_grad_(), "v": base}
    made.save("models/a", odd, {})
    found = made.load("models/a").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in odd.items())


def test_tensors_that_share_memory_are_saved_each(tmp_path):
    """Two buffers of a module may be views of one."""
    base = torch.arange(6.0)
    shared = {"a": base, "same": base, "view": base.view(2, 3), "part": base[:2]}
    Store(tmp_path).save("models/a", shared, {})
    write_tensors(tmp_path / "x.safetensors", shared)
    found = Store(tmp_path).load("models/a").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in shared.items())
    assert digest(shared) == digest({name: t.clone() for name, t in shared.items()})


def test_what_is_not_there_is_none(kept):
    assert kept.load("models/b") is None
    assert list(kept.keys("models")) == ["models/a"]
    assert list(kept.keys("nothing")) == []


def test_a_killed_save_leaves_nothing(tmp_path, monkeypatch):
    """The facts come last: stopped between the two files, there is no result."""
    made = Store(tmp_path)

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        made.save("models/a", TENSORS, FACTS)
    assert made.load("models/a") is None
    assert list(made.keys("models")) == []
    monkeypatch.undo()
    made.save("models/a", TENSORS, FACTS)
    assert made.load("models/a") is not None


@pytest.mark.parametrize("call", ["replace", "chmod"])
def test_a_killed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit of the last quarter."""
    place = len(content) * 3 // 4
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE = {
    "cut": cut,
    "emptied": lambda content: b"",
    "bit flipped": flip,
    "another file": lambda content: b"[1, 2]",
    "not text": lambda content: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_seen_told_and_made_again(kept, ending, damage):
    path = kept.root / f"models/a.{ending}"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="the stored result models/a is damaged .* made again"):
        assert kept.load("models/a") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.load("models/a") is None  # told once
    kept.save("models/a", TENSORS, FACTS)
    assert torch.equal(kept.load("models/a").tensors["w"], TENSORS["w"])


def test_every_bit_of_the_facts_counts(kept):
    """An edited cost is noticed, wherever it stands."""
    path = kept.root / "models/a.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kept.load("models/a")
        assert found is None or found.facts == FACTS
        kept.save("models/a", TENSORS, FACTS)


def test_a_result_whose_tensors_are_gone_is_none(kept):
    (kept.root / "models/a.safetensors").unlink()
    assert kept.load("models/a") is None


def test_unfinished_files_are_not_results(kept):
    (kept.root / "models/.partial-xyz").write_bytes(b"half")
    assert list(kept.keys("models")) == ["models/a"]


def _write_often(root: Path, mark: int) -> None:
    made = Store(root)
    for _ in range(40):
        made.save("models/a", {"w": torch.full((200,), float(mark))}, {"mark": 0})


def test_two_writers_never_leave_a_mixture(tmp_path):
    """Equal keys mean equal content; even if not, what is read is whole or nothing."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(tmp_path, mark)) for mark in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not any(writer.exitcode for writer in writers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Store(tmp_path).load("models/a")
    assert found is None or len(found.tensors["w"].unique()) == 1
    assert not list(tmp_path.rglob(".partial*"))


@pytest.mark.parametrize("write", [write_bytes, write_json, write_tensors])
def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path, write):
    (tmp_path / "file").write_text("in the way")
    content = {"write_bytes": b"x", "write_json": {}, "write_tensors": {"w": torch.ones(1)}}
    with pytest.raises(BadInput, match="cannot write .*file/x.* Fix: choose another folder"):
        write(tmp_path / "file" / "x", content[write.__name__])


def test_json_never_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})


# ---- names


def test_a_key_is_what_decided_it():
    assert key("m", a=1, b=[1, 2]) == key("m", b=[1, 2], a=1)
    different = {key("m", a=1), key("m", a=2), key("n", a=1), key("m", a="1"), key("m", b=1)}
    assert len(different) == 5


def test_digest_sees_names_shapes_types_and_values():
    one = {"a": torch.ones(2), "b": torch.zeros(2)}
    assert digest(one) == digest(dict(reversed(one.items())))
    others = [
        {"a": torch.zeros(2), "b": torch.ones(2)},
        {"a": torch.ones(2), "c": torch.zeros(2)},
        {"a": torch.ones(2, 1), "b": torch.zeros(2)},
        {"a": torch.ones(2).double(), "b": torch.zeros(2)},
        {"a": torch.ones(2)},
    ]
    assert len({digest(other) for other in [one, *others]}) == 6


NUMBERS = torch.tensor([1.0, -200.0, 0.0, float("nan")])
ALIKE = {
    "itself": (NUMBERS, {"epochs": 3}, True),
    "rounding": (NUMBERS * (1 + 5e-5), {"epochs": 3}, True),
    "rounding of zero": (NUMBERS + 5e-5, {"epochs": 3}, True),
    "in float64": (NUMBERS.double(), {"epochs": 3}, True),
    "another value": (NUMBERS * 1.001, {"epochs": 3}, False),
    "another shape": (NUMBERS[:3], {"epochs": 3}, False),
    "another fact": (NUMBERS, {"epochs": 4}, False),
    "another kind of fact": (NUMBERS, {"epochs": "3"}, False),
}


@pytest.mark.parametrize(("numbers", "facts", "same"), ALIKE.values(), ids=ALIKE)
def test_identify_tolerates_rounding_and_nothing_else(tmp_path, numbers, facts, same):
    made = Store(tmp_path)
    name = made.identify("recipes", NUMBERS, {"epochs": 3})
    assert (made.identify("recipes", numbers, facts) == name) == same
    assert made.identify("recipes", NUMBERS, {"epochs": 3}) == name
    assert len(list(made.keys("recipes"))) == 2 - same


def test_facts_compare_as_json_does(tmp_path):
    made = Store(tmp_path)
    names = {made.identify("r", NUMBERS, {"b": pair}) for pair in ((0.9, 0.99), [0.9, 0.99])}
    assert len(names) == 1


def test_identify_forgets_a_damaged_name(tmp_path):
    made = Store(tmp_path)
    name = made.identify("recipes", NUMBERS, {})
    path = tmp_path / f"recipes/{name}.safetensors"
    path.write_bytes(cut(path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged"):
        assert made.identify("recipes", NUMBERS, {}) == name


def test_json_has_a_list_of_numbers_on_one_line(tmp_path):
    content = {"a": [1, -2.5e-7, None, True], "b": [["[\n1\n]", 1], []], "c": [{"d": [[3], [4]]}]}
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == content
    assert '"a": [1, -2.5e-07, null, true]' in text
    assert len(text.splitlines()) == 18


# ---- places that can only be read


@pytest.fixture
def closed(kept, monkeypatch):
    """A store of which nothing can be written, whoever asks."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(FileLock, "acquire", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    return kept


def test_what_a_closed_store_holds_is_not_made(closed):
    with closed.making("models/a") as needed:
        assert not needed
    assert closed.load("models/a").facts == FACTS


def test_what_a_closed_store_lacks_is_refused(closed):
    with pytest.raises(BadInput, match=r"Read-only.*choose another folder"), closed.making("m/b"):
        pass
    with pytest.raises(BadInput, match="cannot write .*Read-only file system"):
        closed.save("models/b", TENSORS, FACTS)
    with pytest.raises(BadInput, match="cannot remove .*Read-only file system"):
        closed.remove("models/a")
    closed.remove("models/b")  # of which there is nothing


def test_damage_in_a_closed_store_is_told(closed):
    path = closed.root / "models/a.safetensors"
    path.write_bytes(cut(path.read_bytes()))
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(BadInput, match="cannot remove"),
    ):
        closed.load("models/a")
