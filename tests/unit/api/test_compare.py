"""compare(): the whole path on a tiny problem, its files, and going on after a loss."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from expunge.api.audit import audit_evidence
from expunge.api.compare import compare
from expunge.api.verify import verify
from expunge.contract.problems import CLASSES, FORGET, ROWS, blobs, tiny
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.methods import METHODS, method
from expunge.store import Store

pytestmark = pytest.mark.usefixtures("no_page")
MEMBERS, HALVES = 10, 24
GROUPS = {"forget": len(FORGET), "retain": ROWS - len(FORGET), "test": 24}
METRIC = {"klom", "accuracy", "cost", "claim", "verdict", "changed", "reason", "settings"}


def every_method():
    lengths = {"epochs": 1, "steps": 4, "batch_size": 16}
    halves = {"dm-direct": {"attribution": "datamodels"}}
    known = {name: {f for f in METHODS[name].__dataclass_fields__} for name in METHODS}
    return {
        name: method(
            name, **{k: v for k, v in lengths.items() if k in known[name]}, **halves.get(name, {})
        )
        for name in METHODS
    }


def run(folder, problem=None, methods=None, **given):
    runtime = Runtime(Store(folder / "store"), jobs=1, group=5, progress=False)
    settings = {"members": MEMBERS, "half_models": HALVES, "command": "a test", **given}
    return compare(
        tiny() if problem is None else problem,
        every_method() if methods is None else methods,
        out=folder / "out",
        runtime=runtime,
        **settings,
    )


def timeless(document):
    """An audit.json without its date and seconds, which alone may differ between runs."""
    copied = json.loads(json.dumps(document))
    del copied["run"]["date"], copied["run"]["seconds"]
    for entry in copied["methods"].values():
        del entry["cost"]["seconds"]
    return copied


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    return folder, run(folder, pictures=torch.zeros(6, 4, 4, dtype=torch.uint8))


def test_it_writes_what_it_returns(first):
    folder, document = first
    assert json.loads((folder / "out" / "audit.json").read_text()) == document
    page = (folder / "out" / "report.html").read_text()
    assert "three blobs" in page
    assert verify(folder / "out") == []


def test_evidence_has_the_member_axis_first(first):
    folder, _ = first
    evidence = folder / "out" / "evidence"
    names = {path.stem for path in evidence.glob("*.safetensors")}
    assert names == {
        *("original", "oracle", "null", "targets", "pictures", "untrained"),
        *(f"unlearned-{name}" for name in METHODS),
    }
    for name in names - {"targets", "pictures", "untrained"}:
        arrays = load_file(evidence / f"{name}.safetensors")
        assert {g: tuple(a.shape) for g, a in arrays.items()} == {
            **{g: (MEMBERS, n, CLASSES) for g, n in GROUPS.items()},
            **{f"{g}.margin": (MEMBERS, n) for g, n in GROUPS.items()},
        }
        assert {a.dtype for g, a in arrays.items() if "margin" in g} == {torch.float64}
    targets = load_file(evidence / "targets.safetensors")
    assert targets["forget_rows"].tolist() == list(FORGET)
    assert set(targets["retain_rows"].tolist()) == {*range(ROWS)} - {*FORGET}
    problem = tiny()
    assert torch.equal(targets["forget"], problem.train.targets[targets["forget_rows"]])
    assert torch.equal(targets["test"], problem.test.targets[targets["test_rows"]])


def test_the_document_has_every_part(first):
    _, document = first
    assert {"problem", "null", "original", "methods"} <= document.keys()
    assert document["methods"].keys() == METHODS.keys()
    for name, entry in document["methods"].items():
        assert entry.keys() >= METRIC
        assert entry["claim"] == str(METHODS[name].claim)
        assert (entry["changed"] > 0) == (not entry["reason"])
        assert entry["cost"]["row_units"] == every_method()[name].price(tiny()).row_units
    assert document["problem"]["forget_rows"] == len(FORGET)
    assert document["problem"]["rows"] == ROWS
    assert document["problem"]["judged_on"] == "test"
    assert document["run"]["group"] == 5
    shared = {n: e["shared_cost"] for n, e in document["methods"].items() if e["shared_cost"]}
    assert shared.keys() == {"oracle-matching", "dm-direct", "dmm"}
    # 3 x epochs x 30 rows, floor(30 / 16) = 1 batch of 16 an epoch: 3 x 3 x 16 each
    assert shared["dm-direct"]["row_units"] == HALVES * 3 * 3 * 16
    # one row to see which layers are used; 27 of 54 retained rows: 6 + 2 x 6 units each;
    # 4 for each of 6 forgotten; 4 for each row asked
    assert shared["dmm"]["row_units"] == 1 + 27 * 18 + 4 * 6 + 4 * (6 + 54)
    # dm-direct reads nothing, so that each request saves one retraining of 3 x 3 x 54
    assert shared["dm-direct"]["requests_to_pay"] == math.ceil(HALVES * 3 * 3 * 16 / (3 * 3 * 54))
    assert shared["dmm"]["requests_to_pay"] is None  # it serves this request alone
    assert shared["oracle-matching"]["requests_to_pay"] is None  # teachers serve one request


TEXTS = [f"text of row {row} <script>alert(1)</script>" for row in FORGET]


def test_texts_go_with_their_rows_and_an_audit_of_the_evidence_keeps_them(first, tmp_path):
    folder, _ = first
    methods = {"fine-tune": every_method()["fine-tune"]}
    runtime = Runtime(Store(folder / "store"), jobs=1, group=5, progress=False)
    given = {"members": MEMBERS, "runtime": runtime}
    document = compare(tiny(), methods, out=tmp_path / "out", texts=TEXTS, **given)
    written = tmp_path / "out" / "evidence" / "texts.json"
    assert json.loads(written.read_text(encoding="utf-8")) == {"forget": TEXTS}
    assert verify(tmp_path / "out") == []
    # a second run with other texts replaces them, one without leaves none
    compare(tiny(), methods, out=tmp_path / "out", texts=TEXTS[::-1], **given)
    assert json.loads(written.read_text(encoding="utf-8")) == {"forget": TEXTS[::-1]}
    audit_evidence(tmp_path / "out", out=tmp_path / "again")
    assert (tmp_path / "again" / "evidence" / "texts.json").read_bytes() == written.read_bytes()
    assert verify(tmp_path / "again") == []
    without = compare(tiny(), methods, out=tmp_path / "out", **given)
    assert not written.exists()
    assert timeless(without) == timeless(document)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"texts": TEXTS[1:]}, f"{len(FORGET) - 1} texts for {len(FORGET)} forgotten rows"),
        ({"texts": "abcdef"}, "texts that are no list of strings"),
        ({"pictures": torch.zeros(5, 4, 4, dtype=torch.uint8)}, "forget in pictures.safetensors"),
    ],
)
def test_texts_and_pictures_of_other_rows_are_refused_before_any_work(given, match, tmp_path):
    with pytest.raises(BadInput, match=match):
        run(tmp_path, **given)
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_a_second_run_changes_nothing_but_the_date(first):
    folder, document = first
    stored = {p: p.stat().st_mtime_ns for p in (folder / "store").rglob("*.*")}
    again = run(folder, pictures=torch.zeros(6, 4, 4, dtype=torch.uint8))
    assert timeless(again) == timeless(document)
    assert {p: p.stat().st_mtime_ns for p in (folder / "store").rglob("*.*")} == stored


@pytest.mark.parametrize("kind", ["models", "observed", "unlearned", "outputs", "attributions"])
def test_it_resumes_after_a_loss(first, kind):
    """Some files of one kind deleted, another cut short: made again, with the same numbers."""
    folder, document = first
    before = {p.name: p.read_bytes() for p in (folder / "out" / "evidence").iterdir()}
    files = sorted((folder / "store" / kind).glob("*.safetensors"))
    for path in files[::2]:
        path.unlink()
    if files[1:]:
        files[1].write_bytes(files[1].read_bytes()[:-7])
        with pytest.warns(UserWarning, match="is damaged"):
            again = run(folder, pictures=torch.zeros(6, 4, 4, dtype=torch.uint8))
    else:
        again = run(folder, pictures=torch.zeros(6, 4, 4, dtype=torch.uint8))
    assert timeless(again) == timeless(document)
    assert {p.name: p.read_bytes() for p in (folder / "out" / "evidence").iterdir()} == before


def test_methods_that_are_no_longer_asked_for_leave_no_evidence(tmp_path):
    run(tmp_path, methods={"a": method("fine-tune", epochs=1), "b": method("gradient-ascent")})
    run(tmp_path, methods={"a": method("fine-tune", epochs=1)})
    assert not list((tmp_path / "out" / "evidence").glob("*-b*"))
    assert verify(tmp_path / "out") == []


def test_one_method_at_two_settings(tmp_path):
    methods = {"once": method("fine-tune", epochs=1), "twice": method("fine-tune", epochs=2)}
    document = run(tmp_path, methods=methods)
    entries = document["methods"]
    assert entries["once"]["settings"]["epochs"] == 1
    assert entries["twice"]["cost"]["row_units"] == 2 * entries["once"]["cost"]["row_units"]


TUNE = {"fine-tune": method("fine-tune", epochs=1)}


@pytest.mark.parametrize("what", ["test", "forget"])
def test_other_content_of_judged_rows_is_not_answered_from_the_store(tmp_path, what):
    """The store's results must be those of the data given now, not of an earlier version of it."""
    problem = tiny()
    run(tmp_path, problem, TUNE)
    if what == "test":
        other = replace(problem, test=blobs(24, 77))
    else:  # the oracles never see these rows, so the models stay the same
        inputs = problem.train.inputs.clone()
        inputs[problem.forget] += 1.0
        other = replace(problem, train=TensorData(inputs, problem.train.targets))
    run(tmp_path, other, TUNE)
    resumed = load_file(tmp_path / "out" / "evidence" / "oracle.safetensors")
    fresh = tmp_path / "fresh"
    run(fresh, other, TUNE)
    assert torch.equal(
        resumed[what], load_file(fresh / "out" / "evidence" / "oracle.safetensors")[what]
    )


def test_half_models_are_not_answered_from_the_store_for_another_test_set(tmp_path):
    problem = tiny()
    shift = {"dm-direct": method("dm-direct")}
    run(tmp_path, problem, shift)
    other = replace(problem, test=blobs(24, 77))
    run(tmp_path, other, shift)
    fresh = tmp_path / "fresh"
    run(fresh, other, shift)
    name = "out/evidence/unlearned-dm-direct.safetensors"
    assert torch.equal(load_file(tmp_path / name)["test"], load_file(fresh / name)["test"])


def test_without_a_test_set_validation_judges_and_it_is_said(tmp_path):
    document = run(tmp_path, replace(tiny(), test=None), TUNE)
    assert document["problem"]["judged_on"] == "validation"
    assert document["groups"]["rows"]["test"] == 30


def test_copies_of_forgotten_rows_are_named(tmp_path):
    problem = tiny()
    inputs = problem.train.inputs.clone()
    inputs[40] = inputs[3]
    problem = replace(problem, train=TensorData(inputs, problem.train.targets))
    assert run(tmp_path, problem, TUNE)["problem"]["duplicates"] == [40]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda p: p.forgetting([]), "there are no rows to forget"),
        (lambda p: replace(p, recipe=None), "the problem has no recipe"),
    ],
)
def test_bad_input(tmp_path, change, match):
    with pytest.raises(BadInput, match=match):
        run(tmp_path, change(tiny()), TUNE)


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(BadInput, match=re.escape("cannot write")):
        run(tmp_path, methods=TUNE)
    assert not (tmp_path / "store" / "models").exists()


@pytest.mark.parametrize("name", ["a/b", ""])
def test_a_name_that_is_no_file_name_is_found_before_the_work(tmp_path, name):
    with pytest.raises(BadInput, match="name"):
        run(tmp_path, methods={name: method("fine-tune", epochs=1)})
    assert not (tmp_path / "store" / "models").exists()


def test_a_method_that_diverges_is_named(tmp_path):
    wild = {"ga": method("gradient-ascent", lr=1e20, epochs=50)}
    with pytest.raises(BadInput, match=r"gradient-ascent: .*NaN or infini"):
        run(tmp_path, methods=wild)
