"""verify(): an edited number is found and named; damaged evidence is refused."""

import json
import shutil
from pathlib import Path

import pytest

from expunge.api.compare import compare
from expunge.api.verify import verify
from expunge.contract.problems import tiny
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.methods import method
from expunge.store import Store


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """An audit that no test touches."""
    folder = tmp_path_factory.mktemp("verify")
    runtime = Runtime(Store(folder / "store"), jobs=1, group=1, progress=False)
    methods = {"fine-tune": method("fine-tune", epochs=1), "ga": method("gradient-ascent")}
    compare(tiny(), methods, out=folder / "out", runtime=runtime, members=10)
    return folder / "out"


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "out"))


def numbers(tree, path=()):
    """Every number in a document with the way to it."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from numbers(value, (*path, key))
    elif isinstance(tree, list):
        for k, value in enumerate(tree):
            yield from numbers(value, (*path, k))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, tree


def edit(document, path, value):
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def declared(path):
    """What the file alone says: facts of the problem and the run; of a method cost and the like."""
    stated = {"cost", "changed", "settings", "shared_cost"}
    return path[0] in ("problem", "run") or (path[0] == "methods" and path[2] in stated)


def place(way):
    """A number's place as a difference names it, up to a list that holds it."""
    words = [word for word in way if isinstance(word, str)]
    return ".".join(words) if isinstance(way[-1], str) else ".".join(words[:-1])


def test_every_edited_number_is_found_and_named(folder):
    path = folder / "audit.json"
    whole = path.read_text()
    assert verify(folder) == []
    ways = [(way, value) for way, value in numbers(json.loads(whole)) if not declared(way)]
    assert len(ways) > 200
    document = json.loads(whole)
    for way, value in ways:
        edit(document, way, value * 1.001 + 0.001)
    path.write_text(json.dumps(document))
    found = verify(folder)
    assert len(found) == len(ways)
    assert all("evidence gives" in line for line in found)
    for way, _ in ways:
        assert any(line.startswith(place(way)) for line in found), way
    document, (way, value) = json.loads(whole), ways[0]
    edit(document, way, value + 0.001)
    path.write_text(json.dumps(document))
    assert len(verify(folder)) == 1  # alone, too


def test_an_edited_verdict_is_found(folder):
    path = folder / "audit.json"
    document = json.loads(path.read_text())
    entry = document["methods"]["fine-tune"]
    entry["verdict"] = "supported" if entry["verdict"] != "supported" else "not supported"
    path.write_text(json.dumps(document))
    (line,) = verify(folder)
    assert line.startswith("methods.fine-tune.verdict: file says")


def test_a_verdict_that_rests_on_an_edited_claim_of_change_is_found(folder):
    """`changed` is declared, but a zero without a reason forbids a verdict."""
    path = folder / "audit.json"
    document = json.loads(path.read_text())
    document["methods"]["fine-tune"]["changed"] = 0.0
    path.write_text(json.dumps(document))
    assert any("methods.fine-tune.verdict" in line for line in verify(folder))


def test_damaged_evidence_is_named(folder):
    for path in sorted((folder / "evidence").glob("*.safetensors")):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(BadInput, match=f"{path.name} has another SHA-256"):
            verify(folder)
        path.write_bytes(whole)
    assert verify(folder) == []


def test_lost_and_foreign_evidence_is_named(folder):
    lost = folder / "evidence" / "oracle.safetensors"
    whole = lost.read_bytes()
    lost.unlink()
    with pytest.raises(BadInput, match="oracle.safetensors"):
        verify(folder)
    lost.write_bytes(whole)
    (folder / "evidence" / "unlearned-x.safetensors").write_bytes(whole)
    with pytest.raises(BadInput, match="unlearned-x.safetensors"):
        verify(folder)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda path: path.unlink(), "there is no"),
        (lambda path: path.write_text("{"), "is not an audit"),
        (lambda path: path.write_text("[]"), "schema|not an audit"),
        (lambda path: path.write_text("{}"), "schema|not an audit"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not an audit"),
    ],
)
def test_an_audit_that_is_none_is_refused(folder, damage, match):
    damage(folder / "audit.json")
    with pytest.raises(BadInput, match=match):
        verify(folder)
