"""Two runs at once, on one store and into one folder: each ends, and what lies there is of one."""

import pytest

from tests.cli.killing import begin, ended, kept
from tests.cli.small import COMMANDS, TIMED, place
from tests.shell import run


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Folders in which each command was left in peace."""
    folder = tmp_path_factory.mktemp("calm")
    assert ended(begin(TIMED, place(folder / "timed", folder)))
    for name in ("trained", "forgotten", "judged", "compared", "benched"):
        assert ended(begin(COMMANDS[name], place(folder / name, folder, name)))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["judged", "compared", "benched"])
def test_the_same_command_twice_at_once_writes_what_one_writes(calm, tmp_path, name):
    folder = place(tmp_path / "x", calm, name)
    both = [begin(COMMANDS[name], folder) for _ in range(2)]
    assert all(ended(one) for one in both), (folder / "log").read_text()
    assert kept(folder / name) == kept(calm / name / name)
    assert not list(folder.rglob("*partial*"))


@pytest.mark.slow
def test_two_commands_into_one_folder_leave_the_evidence_and_the_audit_of_one_of_them(
    calm, tmp_path
):
    folder = place(tmp_path / "x", calm, "judged")
    other = (*COMMANDS["judged"], "--seed", 1)
    both = [begin(words, folder) for words in (COMMANDS["judged"], other)]
    assert all(ended(one) for one in both), (folder / "log").read_text()
    checked = run("verify", "judged", cwd=folder)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trained", "forgotten"])
def test_of_two_models_into_one_folder_one_is_refused_and_the_other_whole(calm, tmp_path, name):
    folder = place(tmp_path / "x", calm, name)
    both = [begin(COMMANDS[name], folder) for _ in range(2)]
    for one in both:
        one.join(300)
    assert sorted(one.exitcode for one in both) == [0, 2], (folder / "log").read_text()
    assert "model.safetensors exists" in (folder / "log").read_text()
    assert kept(folder / name) == kept(calm / name / name)
