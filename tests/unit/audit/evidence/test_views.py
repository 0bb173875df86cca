"""Views: whatever piece is looked at is that of the table in memory."""

import itertools
import os

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from expunge.audit.evidence import chunks as pieces
from expunge.audit.evidence.margin import margins
from expunge.audit.evidence.tensor_file import filed
from expunge.audit.evidence.views import Concat, LazyMargins, Slice, beside
from expunge.errors import BadInput

G = torch.Generator().manual_seed(0)
VALUES = torch.randn(7, 11, 3, generator=G)
TARGETS = torch.randint(3, (11,), generator=G)
PIECES = [slice(None), slice(0, 4), slice(2, 9), slice(5, 5), slice(6, None), slice(-2, None)]


def same(view, table):
    assert view.shape == table.shape
    assert view.dtype == table.dtype
    assert len(view) == len(table)
    for members, rows in itertools.product(PIECES, PIECES):
        assert torch.equal(view[members, rows], table[members, rows])
    for members in PIECES:
        assert torch.equal(view[members], table[members])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "values", [VALUES, VALUES[..., 0].contiguous()], ids=["outputs", "margins"]
)
def test_pieces_of_a_file(tmp_path, values, dtype):
    values = values.to(dtype)
    others = {"a": torch.ones(3, 2), "z": torch.zeros(2, 5, 4, dtype=torch.float64)}
    save_file({"forget": values, **others}, tmp_path / "x.safetensors")
    found = filed(tmp_path / "x.safetensors")
    assert found.keys() == {"forget", "a", "z"}
    same(found["forget"], values)
    same(found["a"], others["a"])
    same(found["z"], others["z"])


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def exchange(path):
    other = path.with_name("other")
    save_file({"forget": VALUES + 1}, other)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


def overwrite(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(0, 0))  # the clock of a file system may be coarse


@pytest.mark.parametrize("change", [cut, exchange, overwrite])
def test_a_file_that_has_changed_since_is_not_read_as_the_same(tmp_path, change):
    path = tmp_path / "x.safetensors"
    save_file({"forget": VALUES}, path)
    found = filed(path)["forget"]
    assert torch.equal(found[:6], VALUES[:6])
    change(path)
    with pytest.raises(BadInput, match="x.safetensors has changed since it was opened"):
        found[:6]


@pytest.mark.parametrize("numbers", [1, 50, 1 << 22])
def test_margins_are_those_of_the_pieces(monkeypatch, numbers):
    monkeypatch.setattr(pieces, "NUMBERS", numbers)
    whole = torch.stack([margins(one[None], TARGETS, "classification")[0] for one in VALUES])
    same(LazyMargins(VALUES, TARGETS, "classification"), whole)
    same(LazyMargins(whole.float(), TARGETS, "classification"), whole.float().double())
    errors = VALUES[..., :1].double() - TARGETS[:, None]
    same(LazyMargins(VALUES[..., :1], TARGETS, "regression"), errors.squeeze(-1))


def test_tables_are_joined_along_both_axes():
    same(Concat([VALUES[:2], VALUES[2:3], VALUES[3:]], 0), VALUES)
    same(Concat([VALUES[:, :4], VALUES[:, 4:9], VALUES[:, 9:]], 1), VALUES)
    rows = [
        Concat([VALUES[:3, :4], VALUES[:3, 4:]], 1),
        Concat([VALUES[3:, :5], VALUES[3:, 5:]], 1),
    ]
    same(Concat(rows, 0), VALUES)
    same(Concat([VALUES], 1), VALUES)


def test_a_part_of_a_part_is_a_part():
    same(Slice(VALUES), VALUES)
    same(Slice(VALUES, range(1, 6), range(2, 11)), VALUES[1:6, 2:11])
    same(Slice(Slice(VALUES, range(1, 6)), range(2, 4), range(3, 9)), VALUES[3:5, 3:9])


def test_groups_side_by_side():
    for part, table in zip(beside(VALUES, [4, 0, 7]), VALUES.split([4, 0, 7], 1), strict=True):
        same(part, table)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: content[:-4], "bytes where its header tells of"),
        (lambda content: content + b"more", "bytes where its header tells of"),
        (lambda content: content[:40], "header cannot be read"),
        (lambda content: b"", "header cannot be read"),
        (lambda content: content.replace(b'"F64"', b'"F99"'), "header cannot be read"),
        (lambda content: content.replace(b"[6,", b"[7,"), "not where it should be"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path, damage, told):
    path = tmp_path / "x.safetensors"
    save_file({"forget": torch.zeros(6, 5, dtype=torch.float64)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SafetensorError, match=told):
        filed(path)
