"""Files that lie by themselves: any bit that was turned round is noticed."""

import json

import pytest
import torch
from safetensors.torch import save_file

from expunge.store.checksummed import (
    read_checked,
    read_checksummed,
    write_checked,
    write_checksummed,
)

FACTS = {"rows": [3, 17, 29], "lr": 0.1, "name": "ä", "shape": (2, 3), 10: None, 9: True}
TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor([1, 2]), "e": torch.empty(0)}


def flipped(content, place, bit=1):
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def test_facts_are_read_as_they_were_written(tmp_path):
    write_checksummed(tmp_path / "x.json", FACTS)
    assert read_checksummed(tmp_path / "x.json") == json.loads(json.dumps(FACTS))


def test_facts_without_a_seal_are_read(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_checksummed(tmp_path / "x.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"[]", b"3", b'"word"', b"null", b"", b"{", b"\xff"])
def test_what_is_no_dictionary_is_damaged(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match="."):
        read_checksummed(tmp_path / "x.json")


def test_no_bit_of_sealed_facts_changes_unseen(tmp_path):
    path = tmp_path / "x.json"
    write_checksummed(path, FACTS)
    whole, good = path.read_bytes(), read_checksummed(path)
    for place in range(len(whole)):
        for bit in (1, 4, 16):
            path.write_bytes(flipped(whole, place, bit))
            try:
                found = read_checksummed(path)
            except ValueError:
                continue
            # white space, or the word "seal" itself, which leaves a strange entry
            assert {name: found.get(name) for name in good} == good, (place, bit)


def test_tensors_are_read_as_they_were_written(tmp_path):
    write_checked(tmp_path / "x.safetensors", TENSORS)
    found = read_checked(tmp_path / "x.safetensors")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_tensors_of_others_are_read_without_a_checksum(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file(TENSORS, tmp_path / "x.safetensors", metadata=metadata)
        assert torch.equal(read_checked(tmp_path / "x.safetensors")["w"], TENSORS["w"])


def test_no_bit_of_checked_tensors_changes_unseen(tmp_path):
    path = tmp_path / "x.safetensors"
    write_checked(path, TENSORS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(flipped(whole, place))
        try:
            found = read_checked(path)
        except ValueError:
            continue
        same = found.keys() == TENSORS.keys() and all(
            torch.equal(found[name], tensor) for name, tensor in TENSORS.items()
        )
        assert same, place


@pytest.mark.parametrize("length", [0, 5, 8, 100, -1])
def test_tensors_that_were_cut_off_are_damaged(tmp_path, length):
    path = tmp_path / "x.safetensors"
    write_checked(path, TENSORS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="."):
        read_checked(path)
