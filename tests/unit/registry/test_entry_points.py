"""Methods of other packages: found by their entry points, and never in the way of ours."""

import sys
import warnings

import pytest

from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.methods.validate_class import validate_class
from expunge.registry import Registry
from tests.packages import METHOD, commands, package


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Install packages; the table as a new process would see it."""

    def install(*packages, **offers):
        for k, (name, wanted, code) in enumerate(packages or [("strange", offers, METHOD)]):
            folder = package(tmp_path / str(k), wanted, code, name)
            monkeypatch.syspath_prepend(str(folder))
            monkeypatch.delitem(sys.modules, name, raising=False)
        return Registry("method", *METHODS.own.values(), faults=validate_class)

    yield install
    for name in ("strange", "other"):
        sys.modules.pop(name, None)


def test_a_method_of_another_package_is_found_by_its_entry_point(found):
    table = found(mine="strange:Mine")
    assert "mine" in table
    assert [*table] == [*METHODS.own, "mine"]
    assert len(table) == len(METHODS.own) + 1
    assert table["mine"].name == "mine"
    assert table["mine"](rounds=3).rounds == 3
    assert table["dmm"] is METHODS.own["dmm"]


def test_other_packages_are_imported_when_they_are_asked_for(found):
    table = found(mine="strange:Mine")
    assert "mine" in table
    assert table["fine-tune"].name == "fine-tune"
    assert "strange" not in sys.modules
    assert table["mine"]
    assert "strange" in sys.modules


def test_a_name_of_ours_stays_ours_with_a_warning(found):
    code = METHOD.replace('"mine"', '"dmm"')
    table = found(("strange", {"dmm": "strange:Mine"}, code))
    with pytest.warns(UserWarning, match="strange offers a method 'dmm', which is one of expunge"):
        assert [*table] == [*METHODS.own]
    assert table["dmm"] is METHODS.own["dmm"]


BROKEN = {
    "no module": ("nowhere:Mine", METHOD, r"strange cannot be loaded: ModuleNotFoundError"),
    "no class": ("strange:Yours", METHOD, r"strange cannot be loaded: AttributeError"),
    "an error inside": ("strange:Mine", "1 / 0", r"cannot be loaded: ZeroDivisionError"),
    "no method": ("strange:Mine", "class Mine: ...", r"strange is no method: .*frozen dataclass"),
    "another name": (
        "strange:Mine",
        METHOD.replace('"mine"', '"other"'),
        r"its name is 'other', that of its entry point is 'mine'",
    ),
}


@pytest.mark.parametrize(("place", "code", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_used_is_left_out_and_refused_by_name(found, place, code, message):
    table = found(("strange", {"mine": place}, code))
    assert table["fine-tune"] is METHODS.own["fine-tune"]
    with pytest.warns(UserWarning, match=rf"{message}.*; it is left out\. "):
        assert [*table] == [*METHODS.own]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert len(table) == len(METHODS.own)
    with pytest.raises(BadInput, match=message):
        table["mine"]


def test_what_is_broken_hides_nothing_else(found):
    offers = {"broken": "nowhere:Mine", "mine": "strange:Mine"}
    yours = METHOD.replace('"mine"', '"yours"')
    table = found(("strange", offers, METHOD), ("other", {"yours": "other:Mine"}, yours))
    with pytest.warns(UserWarning, match="the method 'broken' of strange"):
        assert [*table] == [*METHODS.own, "mine", "yours"]


def test_every_fault_of_what_is_no_method_has_its_fix(found):
    table = found(("strange", {"mine": "strange:Mine"}, "class Mine: ..."))
    with pytest.raises(BadInput, match=r"8 fault\(s\) in strange:Mine.*def price\(self, problem\)"):
        table["mine"]


def test_a_name_offered_twice_is_refused_with_both_packages(found):
    offer = {"mine": "strange:Mine"}
    table = found(("strange", offer, METHOD), ("other", offer, METHOD))
    with pytest.raises(BadInput, match=r"'mine' is offered by other and strange.*Uninstall one"):
        table["mine"]


def test_an_unknown_name_is_no_key(found):
    table = found(mine="strange:Mine")
    assert "nonsense" not in table
    with pytest.raises(KeyError):
        table["nonsense"]


def test_the_command_line_lists_it_and_warns_of_what_is_broken(tmp_path):
    package(tmp_path, {"mine": "strange:Mine", "bad": "nowhere:Bad"})
    asked = ("forget", "--method", "mine", "--help"), ("forget", "--method", "bad", "--help")
    listed, explained, refused = commands(tmp_path, ("methods",), *asked)
    assert explained[0] == 0
    assert "--rounds" in explained[1]
    assert not explained[2]
    assert refused[0] == 2
    assert "Error: the method 'bad' of strange cannot be loaded" in refused[2]
    assert listed[0] == 0
    assert "mine  Descend the training loss" in listed[1]
    assert "Warning: the method 'bad' of strange cannot be loaded" in listed[2]
