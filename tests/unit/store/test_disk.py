"""What the system says of a place, in words."""

import errno
import os
from pathlib import Path

import pytest

from expunge import store
from expunge.errors import BadInput
from expunge.store.disk import FAULTS, told, writable

CURES = {
    errno.ENOSPC: "free space there, or choose another folder; then run the same command again",
    errno.EDQUOT: "free space there",
    errno.EFBIG: "free space there",
    errno.EROFS: "choose another folder, or change its permissions",
    errno.EACCES: "choose another folder, or change its permissions",
    errno.EPERM: "choose another folder, or change its permissions",
    errno.EIO: "look after the disk",
    errno.ENOTDIR: "choose another folder",  # any other
}


@pytest.mark.parametrize("number", CURES)
def test_a_fault_names_the_place_what_happened_and_the_cure(tmp_path, number):
    with pytest.raises(BadInput) as refused, writable(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert refused.value.given == f"cannot write {tmp_path / 'x'} ({os.strerror(number)})"
    assert CURES[number] in refused.value.fix
    with pytest.raises(BadInput, match="cannot remove "), writable(tmp_path / "x", "remove"):
        raise OSError(number, os.strerror(number))


def test_only_faults_of_a_disk_are_told_where_nobody_expected_them():
    assert set(CURES) - set(FAULTS) == {errno.ENOTDIR}
    full = told(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert full is not None
    assert full.given == "/data/x cannot be used (No space left on device)"
    nameless = told(OSError(errno.EIO, "Input/output error"))
    assert nameless is not None
    assert nameless.given == "a file cannot be used (Input/output error)"
    assert told(FileNotFoundError(errno.ENOENT, "No such file or directory", "x")) is None
    assert told(OSError("something else")) is None


def test_what_is_no_fault_of_the_system_passes(tmp_path):
    with pytest.raises(ZeroDivisionError), writable(tmp_path):
        raise ZeroDivisionError


def test_a_fault_of_a_file_elsewhere_that_was_read_is_not_one_of_writing(tmp_path):
    source = tmp_path / "elsewhere" / "rows"
    with pytest.raises(FileNotFoundError), store.writing(tmp_path / "out" / "copy") as copy:
        copy.write(source.read_bytes())
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "below" / "copy"
    with pytest.raises(BadInput, match="cannot write .*copy"), store.writing(place):
        pass


@pytest.mark.parametrize("place", ["out/copy", "out/../out/copy"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_relative_path_is_no_other_place(tmp_path, monkeypatch, place, absolute):
    def denied(*_, **__):
        folder = tmp_path / "out" if absolute else Path("out")
        raise PermissionError(errno.EACCES, "denied", str(folder / "x"))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(BadInput, match="cannot write out/.*denied"), store.writing(Path(place)):
        pass


def test_a_fault_that_names_a_number_in_the_place_of_a_file(tmp_path):
    with pytest.raises(BadInput, match="cannot write .*x "), writable(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "no space", 7)
