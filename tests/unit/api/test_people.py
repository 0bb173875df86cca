"""Ids in card, evidence and audit.json: as they are, or as keyed hashes."""

import hashlib
import hmac
import json
import re
from dataclasses import replace

import pytest
import torch

from expunge.api.audit import audit, audit_evidence
from expunge.api.card import read_card
from expunge.api.compare import compare
from expunge.api.forget import forget
from expunge.api.published_ids import KEY, keyed_hash, published_ids
from expunge.api.verify import verify
from expunge.contract.problems import ROWS, tiny
from expunge.errors import BadInput
from expunge.methods import method
from expunge.training.from_recipe import train

IDS = [f"p{row % 20}" for row in range(ROWS)]  # p7 has rows 7, 27 and 47
SECRET = "a long random key"
ORACLES = 10


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture
def problem():
    return replace(tiny(forget=()), ids=IDS)


@pytest.fixture
def model(problem):
    (module,) = train(problem, "original", [0], seed=0)[0].modules()
    return module


def run(model, problem, runtime, rows=None, **given):
    return forget(model, problem, rows, method="fine-tune", epochs=1, runtime=runtime, **given)


def test_the_card_names_persons(problem, model, runtime, tmp_path):
    done = run(model, problem, runtime, ids=["p7", "p0"])
    assert done.card.forgotten == [0, 7, 20, 27, 40, 47]
    assert done.card.people == {
        "records": 6,
        "persons": 2,
        "partly": 0,
        "ids": ["p0", "p7", "p0", "p7", "p0", "p7"],
        "ids_before": [],
    }
    assert read_card(done.save(tmp_path / "one")) == done.card
    some = run(model, problem, runtime, [7, 3]).card.people
    assert (some["records"], some["persons"], some["partly"]) == (2, 2, 2)
    assert some["ids"] == ["p3", "p7"]
    assert run(model, tiny(forget=()), runtime, [7]).card.people is None


def test_a_person_who_is_gone_is_refused_by_id_later(problem, model, runtime, tmp_path):
    first = run(model, problem, runtime, ids=["p7"])
    for before in (first, first.save(tmp_path / "one")):
        with pytest.raises(BadInput, match=r"record id 'p7' was already forgotten \(1 of 2\)"):
            run(before, problem, runtime, ids=["p1", "p7"])
        with pytest.raises(BadInput, match=r"row 27 \(id 'p7'\) was already forgotten"):
            run(before, problem, runtime, [27])
    second = run(first, problem, runtime, ids=["p1"])
    assert second.card.people["ids_before"] == ["p7", "p7", "p7"]
    left = run(model, problem, runtime, [7])
    assert run(left, problem, runtime, ids=["p7"]).card.forgotten == [27, 47]


def test_a_card_of_rows_in_another_order_is_refused(problem, model, runtime, tmp_path):
    """Row numbers alone would name other persons."""
    first = run(model, problem, runtime, ids=["p7"])
    path = first.save(tmp_path / "one")
    moved = replace(problem, ids=IDS[1:] + IDS[:1])
    match = r"row 7 \(id 'p8'\) has the id 'p7' in the model's card \(3 such\).*same order"
    for before in (first, path):
        with pytest.raises(BadInput, match=match):
            run(before, moved, runtime, ids=["p1"])
    with pytest.raises(BadInput, match=match):
        audit(moved, model, first, oracles=ORACLES, out=tmp_path / "out", runtime=runtime)
    assert run(first, replace(problem, ids=None), runtime, [1]).card.people is None
    assert run(run(model, tiny(forget=()), runtime, [1]), problem, runtime, [2]).card.people


def test_with_a_key_the_card_holds_keyed_hashes(problem, model, runtime, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    done = run(model, problem, runtime, ids=["p7"])
    wanted = hmac.new(SECRET.encode(), b"p7", hashlib.sha256).hexdigest()
    assert keyed_hash("p7", SECRET) == f"hmac-sha256:{wanted}"
    assert done.card.people["ids"] == [keyed_hash("p7", SECRET)] * 3
    text = done.save(tmp_path / "one").with_suffix(".card.json").read_text()
    assert '"p7"' not in text
    assert SECRET not in text
    later = run(done, problem, runtime, ids=["p1"])  # the same key knows them again
    assert later.card.people["ids_before"] == [keyed_hash("p7", SECRET)] * 3
    monkeypatch.setenv(KEY, "another key")
    with pytest.raises(BadInput, match=rf"row 7 \(id 'p7'\) has the id 'hmac.*the same {KEY}"):
        run(done, problem, runtime, ids=["p1"])
    monkeypatch.setenv(KEY, "")
    with pytest.raises(BadInput, match=f"keyed hashes of ids, and {KEY} is not set"):
        run(done, problem, runtime, ids=["p1"])
    run(done, replace(problem, ids=None), runtime, [1])


def test_a_plain_card_stays_readable_once_there_is_a_key(problem, model, runtime, monkeypatch):
    first = run(model, problem, runtime, ids=["p7"])
    monkeypatch.setenv(KEY, SECRET)
    second = run(first, problem, runtime, ids=["p1"])
    assert second.card.people["ids_before"] == [keyed_hash("p7", SECRET)] * 3


def test_evidence_and_audit_name_persons(problem, model, runtime, tmp_path):
    done = run(model, problem, runtime, ids=["p7", "p0"])
    out = tmp_path / "out"
    judged = audit(problem, model, done, oracles=ORACLES, out=out, runtime=runtime)
    assert (judged["problem"]["persons"], judged["problem"]["persons_partly"]) == (2, 0)
    written = json.loads((out / "evidence" / "people.json").read_text())
    assert written == {"forget": done.card.people["ids"]}
    assert "people.json" in json.loads((out / "evidence" / "manifest.json").read_text())["files"]
    page = (out / "report.html").read_text()
    assert "6 of the 60 examples that the model had learned from were named." in page
    assert "They belong to 2 persons." in page
    shown = re.findall(r"Row (\d+), id (p\d+)", page)
    assert len(shown) >= 4
    assert all(IDS[int(row)] == known for row, known in shown)
    assert verify(out) == []

    alone = audit_evidence(out / "evidence", out=tmp_path / "alone")
    assert (alone["problem"]["persons"], alone["problem"]["persons_partly"]) == (2, None)
    assert (tmp_path / "alone" / "evidence" / "people.json").is_file()
    assert verify(tmp_path / "alone") == []

    judged["problem"]["persons"] = 6
    (out / "audit.json").write_text(json.dumps(judged))
    assert verify(out) == ["problem.persons: file says 6, evidence gives 2"]


@pytest.mark.usefixtures("no_page")
def test_without_ids_there_are_none(model, runtime, tmp_path):
    problem = tiny(forget=())
    done, out = run(model, problem, runtime, [7]), tmp_path / "out"
    judged = audit(problem, model, done, oracles=ORACLES, out=out, runtime=runtime)
    assert judged["problem"]["persons"] is judged["problem"]["persons_partly"] is None
    assert not (out / "evidence" / "people.json").exists()
    assert published_ids(problem, [7]) is None
    assert verify(out) == []


def test_compare_writes_keyed_hashes(problem, runtime, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    asked, out = problem.forgetting([7, 27]), tmp_path / "out"
    methods = {"fine-tune": method("fine-tune", epochs=1)}
    judged = compare(asked, methods, out=out, runtime=runtime, members=ORACLES)
    assert (judged["problem"]["persons"], judged["problem"]["persons_partly"]) == (1, 1)
    written = json.loads((out / "evidence" / "people.json").read_text())
    assert written["forget"] == [keyed_hash("p7", SECRET)] * 2
    page = (out / "report.html").read_text()
    assert "They belong to 1 person. That person has other examples, which were kept." in page
    assert f"id hash {keyed_hash('p7', SECRET)[12:24]}…" in page
    assert "id p7" not in page


def test_rows_that_differ_from_the_card_are_named(problem, model, runtime, tmp_path):
    done = run(model, problem, runtime, ids=["p7"])
    with pytest.raises(BadInput, match=r"3 others; row 1 \(id 'p1'\) is in one list only"):
        audit(problem.forgetting([1]), model, done, out=tmp_path / "out", runtime=runtime)


def test_neither_rows_nor_ids(problem, model, runtime):
    with pytest.raises(BadInput, match="neither rows nor ids"):
        run(model, problem, runtime)
    with pytest.raises(BadInput, match="there are no rows to forget"):
        run(model, problem, runtime, ids=[])
    assert torch.equal(problem.forget, torch.empty(0, dtype=torch.int64))
