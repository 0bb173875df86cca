"""audit(): one model against ten oracles; audit_evidence(): arrays alone."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from expunge.api.audit import audit, audit_evidence
from expunge.api.forget import forget
from expunge.api.verify import verify
from expunge.contract.problems import FORGET, tiny
from expunge.errors import BadInput
from expunge.training.from_recipe import train

pytestmark = pytest.mark.usefixtures("no_page")
ORACLES = 10


@pytest.fixture(scope="module")
def problem():
    return tiny(forget=())


@pytest.fixture(scope="module")
def model(problem):
    (module,) = train(problem, "original", [0], seed=0)[0].modules()
    return module


@pytest.fixture
def done(model, problem, runtime):
    return forget(model, problem, FORGET, method="fine-tune", epochs=1, runtime=runtime)


def run(problem, model, unlearned, runtime, folder, **given):
    given = {"oracles": ORACLES, "out": folder / "out", "runtime": runtime, **given}
    return audit(problem, model, unlearned, **given)


def test_a_result_of_forget_is_judged(problem, model, done, runtime, tmp_path):
    document = run(problem, model, done, runtime, tmp_path, command="a test")
    entry = document["methods"]["fine-tune"]
    assert (entry["claim"], entry["changed"]) == ("approximate", done.card.changed)
    assert entry["settings"] == done.card.settings
    assert entry["distance"] is not None
    assert entry["klom"] is None
    assert "klom" in document["not_measured"]
    assert document["problem"]["forget_rows"] == len(FORGET)
    assert document["groups"]["models"]["oracle"] == ORACLES
    assert verify(tmp_path / "out") == []
    evidence = load_file(tmp_path / "out" / "evidence" / "unlearned-fine-tune.safetensors")
    assert evidence["forget"].shape == (1, len(FORGET), 3)


def test_texts_of_the_forgotten_rows_are_kept(problem, model, done, runtime, tmp_path):
    texts = [f"text {row}" for row in FORGET]
    run(problem, model, done, runtime, tmp_path, texts=texts)
    written = (tmp_path / "out" / "evidence" / "texts.json").read_text()
    assert json.loads(written) == {"forget": texts}
    with pytest.raises(BadInput, match=f"1 texts for {len(FORGET)} forgotten rows"):
        run(problem, model, done, runtime, tmp_path, texts=texts[:1])


def test_a_path_with_a_card_is_judged_alike(problem, model, done, runtime, tmp_path):
    torch.save(model.state_dict(), tmp_path / "original.pt")
    path = done.save(tmp_path / "unlearned")
    first = run(problem, model, done, runtime, tmp_path)
    again = run(problem, tmp_path / "original.pt", str(path), runtime, tmp_path)
    assert first["methods"] == again["methods"]
    assert first["run"]["digests"] == again["run"]["digests"]


def test_a_module_needs_the_rows_to_be_named(problem, model, done, runtime, tmp_path):
    with pytest.raises(BadInput, match="not known which rows the model was to forget.*--rows"):
        run(problem, model, done.model, runtime, tmp_path)
    asked = problem.forgetting(FORGET)
    document = run(asked, model, done.model, runtime, tmp_path, name="mine")
    entry = document["methods"]["mine"]
    assert entry["claim"] == "not stated"
    assert entry["cost"]["row_units"] is None
    assert entry["changed"] == done.card.changed


def test_oracles_are_made_without_rows_gone_before(problem, model, done, runtime, tmp_path):
    """The original of a second request is the first one's result; its oracles lack all rows."""
    path = done.save(tmp_path / "first")
    second = forget(path, problem, [0, 1], method="fine-tune", epochs=1, runtime=runtime)
    document = run(problem, path, second, runtime, tmp_path)
    assert document["problem"]["forgotten_before"] == len(FORGET)
    assert document["problem"]["forget_rows"] == 2
    gone = torch.tensor(FORGET)
    wanted, _ = train(problem.without(gone).forgetting([0, 1]), "oracle", range(ORACLES), seed=0)
    outputs = wanted.outputs(problem.task, problem.train, torch.tensor([0, 1]))
    evidence = load_file(tmp_path / "out" / "evidence" / "oracle.safetensors")
    assert torch.allclose(evidence["forget"], outputs, atol=1e-6)


def test_the_seed_is_of_the_oracles(problem, model, done, runtime, tmp_path):
    found = []
    for seed in (0, 1):
        run(problem, model, done, runtime, tmp_path, seed=seed)
        found.append(load_file(tmp_path / "out" / "evidence" / "oracle.safetensors")["test"])
    assert not torch.equal(*found)


@pytest.mark.parametrize("oracles", [0, 9])
def test_fewer_than_ten_oracles_are_refused(oracles, problem, model, done, runtime, tmp_path):
    with pytest.raises(BadInput, match=f"{oracles} oracles.*at least 10.*raise --oracles"):
        run(problem, model, done, runtime, tmp_path, oracles=oracles)


def test_another_parent_is_refused(problem, done, runtime, tmp_path):
    (other,) = train(problem, "original", [7], seed=0)[0].modules()
    with pytest.raises(BadInput, match="card names another parent than the model given"):
        run(problem, other, done, runtime, tmp_path)


def test_the_problem_may_be_the_one_before_or_the_one_handed_back(
    problem, model, done, runtime, tmp_path
):
    found = []
    for asked in (problem, done.problem, problem.forgetting(FORGET)):
        found.append(run(asked, model, done, runtime, tmp_path)["methods"])
    assert found[0] == found[1] == found[2]


def test_rows_that_the_card_does_not_name_are_refused(problem, model, done, runtime, tmp_path):
    with pytest.raises(BadInput, match="2 rows were named, but the model's card"):
        run(problem.forgetting([1, 2]), model, done, runtime, tmp_path)


def test_files_of_others_are_not_touched(problem, model, done, runtime, tmp_path):
    mine = tmp_path / "out" / "evidence" / "mine.safetensors"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"not yours")
    with pytest.raises(BadInput, match="mine.safetensors, which no run of expunge wrote there"):
        run(problem, model, done, runtime, tmp_path)
    assert mine.read_bytes() == b"not yours"


def test_a_problem_without_a_recipe_cannot_be_audited(problem, model, done, runtime, tmp_path):
    with pytest.raises(BadInput, match="the problem has no recipe"):
        run(replace(problem, recipe=None), model, done, runtime, tmp_path)


def test_the_original_itself_is_not_supported_or_left_no_trace(problem, model, runtime, tmp_path):
    """A model in which nothing changed must not come out as well forgotten."""
    document = run(problem.forgetting(FORGET), model, model, runtime, tmp_path)
    assert document["methods"]["unlearned"]["changed"] == 0.0
    assert document["methods"]["unlearned"]["verdict"] != "supported"


# ---- arrays alone


@pytest.fixture
def arrays(tmp_path):
    g = torch.Generator().manual_seed(0)
    folder = tmp_path / "arrays"
    folder.mkdir()
    for name, members in (("original", 3), ("oracle", 12), ("unlearned-mine", 3)):
        made = {k: torch.randn(members, n, 3, generator=g) for k, n in SIZES.items()}
        save_file(made, folder / f"{name}.safetensors")
    truth = {k: torch.randint(3, (n,), generator=g) for k, n in SIZES.items()}
    rows = {"forget_rows": torch.arange(4), "retain_rows": torch.arange(10, 15)}
    save_file({**truth, **rows}, folder / "targets.safetensors")
    return folder


SIZES = {"forget": 4, "retain": 5, "test": 6}


def test_arrays_of_any_framework_are_judged(arrays, tmp_path):
    before = {p.name: p.read_bytes() for p in arrays.iterdir()}
    document = audit_evidence(arrays, out=tmp_path / "out")
    assert document["methods"]["mine"]["claim"] == "not stated"
    assert document["methods"]["mine"]["changed"] is None
    assert document["problem"]["rows"] is None
    assert verify(tmp_path / "out") == []
    assert {p.name: p.read_bytes() for p in arrays.iterdir()} == before
    again = audit_evidence(tmp_path / "out", out=tmp_path / "again")  # a folder that we wrote
    assert again["methods"] == document["methods"]


def test_arrays_may_be_judged_where_they_lie(arrays):
    folder = arrays.parent / "here"
    folder.mkdir()
    arrays.rename(folder / "evidence")
    audit_evidence(folder, out=folder)
    assert verify(folder) == []


def test_no_folder_no_audit(tmp_path):
    with pytest.raises(BadInput, match="there is no folder"):
        audit_evidence(tmp_path / "nothing", out=tmp_path / "out")
