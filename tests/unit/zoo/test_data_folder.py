"""Where data lies, and what is said where it does not."""

import pytest

from expunge.errors import BadInput
from expunge.zoo.data_folder import VARIABLE, data_file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set.npz").write_bytes(b"x")
    return tmp_path


def test_a_folder_that_is_passed_is_read_before_the_environment(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(folder / "elsewhere"))
    assert data_file(folder, "set.npz", "a set") == folder / "set.npz"
    assert data_file(str(folder), "set.npz", "a set") == folder / "set.npz"


def test_the_environment_names_the_folder(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(folder))
    assert data_file(None, "set.npz", "a set") == folder / "set.npz"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_folder_the_message_names_the_variable_and_the_source(value, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(BadInput, match="no data folder is named, so set.npz") as caught:
        data_file(None, "set.npz", "a set of Someone et al.")
    assert "a set of Someone et al." in caught.value.expected
    assert VARIABLE in caught.value.fix
    assert "data=" in caught.value.fix


def test_a_file_that_is_missing_is_named_with_its_place(folder):
    with pytest.raises(BadInput, match=r"there is no file .*other\.npz") as caught:
        data_file(folder, "other.npz", "another set")
    assert str(folder) in caught.value.given
    assert "another set" in caught.value.expected
    with pytest.raises(BadInput, match="there is no file"):
        data_file(folder.parent, folder.name, "a folder, not a file")
