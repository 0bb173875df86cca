import json
import math
import os
from dataclasses import FrozenInstanceError

import pytest
import torch

from expunge.audit.evidence import folder as evidence
from expunge.audit.evidence.folder import manifest, read
from expunge.audit.evidence.groups import GROUPS, MARGIN
from expunge.audit.evidence.margin import margins
from expunge.errors import BadInput
from tests.unit.audit.folders import files, write


def refused(folder, made, match, kind="classification", sealed=False):
    with pytest.raises(BadInput, match=match):
        read(write(folder, made, sealed), kind, verify_manifest=sealed)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_whole_folder_is_read_as_written(tmp_path, kind):
    made = files(kind, methods=("dmm", "fine-tune"))
    given = read(write(tmp_path, made), kind, verify_manifest=True)
    assert given.kind == kind
    assert list(given.unlearned) == ["dmm", "fine-tune"]
    assert given.null is not None
    assert given.pictures is not None
    pairs = [
        (given.original, made["original"]),
        (given.oracle, made["oracle"]),
        (given.null, made["null"]),
        (given.unlearned["dmm"], made["unlearned-dmm"]),
        (given.targets, made["targets"]),
        (given.pictures, made["pictures"]),
    ]
    for read_, written in pairs:
        assert read_.keys() == written.keys()
        assert all(torch.equal(read_[key][:], written[key]) for key in written)
    with pytest.raises(FrozenInstanceError):
        given.kind = "other"  # pyright: ignore


def test_optional_files_may_be_absent_and_margins_may_stand_for_outputs(tmp_path):
    made = files()
    del made["null"], made["pictures"], made["targets"]["test_rows"]
    for name in ("original", "oracle", "unlearned-dmm"):
        made[name] = {
            g: margins(made[name][g], made["targets"][g], "classification").half()
            for g in made[name]
        }
    given = read(write(tmp_path, made, sealed=False), "classification", verify_manifest=False)
    assert given.null is None
    assert given.pictures is None
    assert given.original["forget"].shape == (12, 8)
    assert given.original["forget"].dtype == torch.float16


def test_manifest_names_every_file_with_its_checksum(tmp_path):
    write(tmp_path, files())
    (tmp_path / ".half.safetensors").write_bytes(b"unfinished")
    content = manifest(tmp_path)
    assert content["schema"] == "expunge.evidence/1"
    names = ["null", "oracle", "original", "pictures", "targets", "unlearned-dmm"]
    assert list(content["files"]) == [f"{name}.safetensors" for name in names]
    assert all(len(digest) == 64 for digest in content["files"].values())


@pytest.mark.parametrize("name", ["original", "oracle", "targets", "unlearned-dmm"])
def test_a_missing_file_is_named_beside_what_is_there(tmp_path, name):
    made = files()
    del made[name]
    wanted = "unlearned-<method>" if name.startswith("un") else name
    refused(tmp_path, made, rf"{wanted}.safetensors is missing .*there: null.safetensors, o")


def test_not_a_folder(tmp_path):
    with pytest.raises(BadInput, match="is not a folder"):
        read(tmp_path / "nowhere", "classification", verify_manifest=False)


@pytest.mark.parametrize("name", ["unlerned-dmm", "unlearned-", "orcale"])
def test_a_file_of_unknown_name_is_not_left_out_unseen(tmp_path, name):
    made = files() | {name: files()["oracle"]}
    refused(tmp_path, made, rf"{name}.safetensors in .* has no known name")


@pytest.mark.parametrize("name", ["original", "oracle", "null", "unlearned-dmm", "targets"])
def test_a_missing_tensor_is_named(tmp_path, name):
    made = files()
    del made[name]["retain"]
    refused(tmp_path, made, rf"tensor 'retain' is missing in {name}.safetensors")


@pytest.mark.parametrize("name", ["forget_rows", "retain_rows"])
def test_row_numbers_are_needed(tmp_path, name):
    made = files()
    del made["targets"][name]
    refused(tmp_path, made, f"tensor '{name}' is missing in targets.safetensors")


@pytest.mark.parametrize("name", ["oracle", "null", "unlearned-dmm"])
def test_other_rows_or_classes_than_the_original_are_refused(tmp_path, name):
    for cut in ((slice(None), slice(7)), (slice(None), slice(None), slice(2))):
        made = files()
        made[name]["forget"] = made[name]["forget"][cut].contiguous()
        refused(tmp_path, made, rf"forget in {name}.safetensors has shape \(members, ")


def test_other_rows_than_the_targets_are_refused(tmp_path):
    for name in ("test", "test_rows"):
        made = files()
        made["targets"][name] = made["targets"][name][:-1]
        refused(tmp_path, made, rf"{name} in targets.safetensors has shape \(9\)")


def test_groups_of_one_file_hold_the_same_models(tmp_path):
    made = files()
    made["oracle"]["test"] = made["oracle"]["test"][:5]
    refused(tmp_path, made, "oracle.safetensors holds different numbers of models")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["original", "oracle", "null", "unlearned-dmm"])
def test_what_is_not_finite_is_placed(tmp_path, name, bad):
    made = files()
    made[name]["test"][3, 1, 2] = bad
    refused(tmp_path, made, rf"test in {name}.* holds 1 NaN or infinite .* at \(3, 1, 2\)")


@pytest.mark.parametrize("shape", [(12, 8, 1), (12,), (0, 8, 3), (12, 8, 3, 1)])
def test_shapes_that_are_neither_outputs_nor_margins_are_refused(tmp_path, shape):
    made = files()
    made["original"]["forget"] = torch.zeros(shape)
    refused(tmp_path, made, "forget in original.safetensors is torch.float32 of shape")


def test_a_regression_has_one_output_and_models_say_floats(tmp_path):
    made = files("regression")
    made["original"]["forget"] = torch.zeros(12, 8, 2)
    refused(tmp_path, made, r"shape \(12, 8, 2\)", "regression")
    made["original"]["forget"] = torch.zeros(12, 8, 1, dtype=torch.int64)
    refused(tmp_path, made, "torch.int64", "regression")


def test_classes_are_integers_in_range(tmp_path):
    made = files()
    made["targets"]["forget"] = made["targets"]["forget"].float()
    refused(tmp_path, made, "forget in targets.safetensors is torch.float32")
    for value in (-1, 3):
        made = files()
        made["targets"]["retain"][4] = value
        refused(tmp_path, made, "retain in targets.safetensors ranges from")


def test_regression_targets_are_finite(tmp_path):
    made = files("regression")
    made["targets"]["forget"][2] = math.nan
    refused(tmp_path, made, r"forget in targets.safetensors holds 1 NaN .* \(2\)", "regression")


def test_row_numbers_are_unique_int64_and_apart(tmp_path):
    made = files()
    made["targets"]["forget_rows"] = made["targets"]["forget_rows"].int()
    refused(tmp_path, made, "forget_rows in targets.safetensors is torch.int32 or repeats")
    made["targets"]["forget_rows"] = torch.zeros(8, dtype=torch.int64)
    refused(tmp_path, made, "forget_rows in targets.safetensors is torch.int64 or repeats")
    made["targets"]["forget_rows"] = torch.arange(15, 23)
    refused(tmp_path, made, "row 20 is both forgotten and retained")


@pytest.mark.parametrize(
    "pictures",
    [torch.zeros(8, 5, 5), torch.zeros(7, 5, 5).byte(), torch.zeros(8, 5, 5, 4).byte()],
)
def test_pictures_are_bytes_one_a_forgotten_row(tmp_path, pictures):
    refused(tmp_path, files() | {"pictures": {"forget": pictures}}, "forget in pictures.safete")


def test_pictures_in_colour(tmp_path):
    made = files() | {"pictures": {"forget": torch.zeros(8, 4, 5, 3).byte()}}
    assert read(write(tmp_path, made), "classification", verify_manifest=True).pictures


def test_pictures_need_their_tensor(tmp_path):
    made = files() | {"pictures": {"other": torch.zeros(8, 5, 5).byte()}}
    refused(tmp_path, made, "tensor 'forget' is missing in pictures")


def with_texts(folder, content, sealed=True):
    """A folder whose texts.json is this content."""
    (folder / "texts.json").write_text(content, encoding="utf-8")
    return write(folder, files(), sealed)


TEXTS = ["plain", "<b>bold</b>", "", "ünïcode …", *"abcd"]


def test_texts_are_read_as_written_and_the_manifest_covers_them(tmp_path):
    with_texts(tmp_path, json.dumps({"forget": TEXTS}))
    assert "texts.json" in json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert read(tmp_path, "classification", verify_manifest=True).texts == TEXTS
    spoil(tmp_path / "texts.json")
    with pytest.raises(BadInput, match=r"texts.json has another SHA-256"):
        read(tmp_path, "classification", verify_manifest=True)


def test_texts_that_the_manifest_does_not_name_or_that_are_gone_are_found(tmp_path):
    write(tmp_path, files())
    (tmp_path / "texts.json").write_text(json.dumps({"forget": TEXTS}))
    with pytest.raises(BadInput, match=r"texts.json in .* but not in manifest.json"):
        read(tmp_path, "classification", verify_manifest=True)
    assert read(tmp_path, "classification", verify_manifest=False).texts == TEXTS
    with_texts(tmp_path, json.dumps({"forget": TEXTS}))
    (tmp_path / "texts.json").unlink()
    with pytest.raises(BadInput, match=r"texts.json of manifest.json not in"):
        read(tmp_path, "classification", verify_manifest=True)


IDS = ["p1", "p1", "p2", "p3", "p3", "p3", "Jürgen", "8"]


def test_ids_are_read_as_written_and_the_manifest_covers_them(tmp_path):
    write(tmp_path, files(), sealed=False)
    (tmp_path / "people.json").write_text(json.dumps({"forget": IDS}), encoding="utf-8")
    assert read(tmp_path, "classification", verify_manifest=False).people == IDS
    (tmp_path / "manifest.json").write_text(json.dumps(manifest(tmp_path)))
    assert read(tmp_path, "classification", verify_manifest=True).people == IDS
    spoil(tmp_path / "people.json")
    with pytest.raises(BadInput, match=r"people.json has another SHA-256"):
        read(tmp_path, "classification", verify_manifest=True)
    (tmp_path / "people.json").unlink()
    with pytest.raises(BadInput, match=r"people.json of manifest.json not in"):
        read(tmp_path, "classification", verify_manifest=True)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("[]", "people.json cannot be understood"),
        ('{"forget": ["a"]}', "1 ids for 8 forgotten rows. Expected: 8 ids"),
        ('{"forget": [1, 2, 3, 4, 5, 6, 7, 8]}', "ids that are no list of strings"),
    ],
)
def test_ids_are_strings_one_a_forgotten_row(tmp_path, content, match):
    write(tmp_path, files(), sealed=False)
    (tmp_path / "people.json").write_text(content)
    with pytest.raises(BadInput, match=match):
        read(tmp_path, "classification", verify_manifest=False)


def test_without_texts_there_are_none(tmp_path):
    given = read(write(tmp_path, files()), "classification", verify_manifest=True)
    assert given.texts is None
    assert given.people is None


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("nothing", "texts.json cannot be understood"),
        ("[]", "texts.json cannot be understood"),
        ('{"others": []}', "texts.json cannot be understood.*'forget'"),
        ('{"forget": "abcdefgh"}', "texts that are no list of strings. Expected: 8 strings"),
        ('{"forget": [1, 2, 3, 4, 5, 6, 7, 8]}', "texts that are no list of strings"),
        ('{"forget": ["a"]}', "1 texts for 8 forgotten rows"),
        (json.dumps({"forget": [*TEXTS[:7], "\ud800"]}), "text 7 cannot be written as UTF-8"),
    ],
)
def test_texts_are_strings_one_a_forgotten_row(tmp_path, content, match):
    with pytest.raises(BadInput, match=match):
        read(with_texts(tmp_path, content), "classification", verify_manifest=True)


def test_other_kinds_need_margins(tmp_path):
    match = r"forget.margin in null.*'clasification' \(did you mean 'classification'"
    refused(tmp_path, files(), match, "clasification")


def with_margins(made):
    """The same with a task's margins beside answers of another shape, and no targets."""
    rows = {k: v for k, v in made["targets"].items() if k.endswith("_rows")}
    found = {"targets": rows}
    for name in made.keys() - {"targets", "pictures"}:
        file = {group: made[name][group] for group in GROUPS}
        found[name] = {
            **{group: z[..., None].repeat(1, 1, 1, 2) for group, z in file.items()},
            **{group + MARGIN: z.double().mean(-1) for group, z in file.items()},
        }
    return found


def test_another_kind_is_read_with_its_margins_and_without_targets(tmp_path):
    made = with_margins(files())
    given = read(write(tmp_path, made), "denoising", verify_manifest=True)
    assert torch.equal(given.margins(given.oracle, "test")[:], made["oracle"]["test.margin"])
    assert given.sizes == [8, 12, 10]


def test_margins_are_in_all_files_or_in_none_and_fit_their_answers(tmp_path):
    made = with_margins(files())
    del made["oracle"]["test.margin"]
    refused(tmp_path, made, r"test.margin in oracle.* is missing", "classification")
    made = with_margins(files())
    made["oracle"]["test.margin"] = made["oracle"]["test.margin"][:, 1:].contiguous()
    refused(tmp_path, made, r"test.margin in oracle.*shape \(12, 9\)", "denoising")


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_changed_byte_is_found_and_the_file_named(tmp_path):
    write(tmp_path, files())
    spoil(tmp_path / "oracle.safetensors")
    with pytest.raises(BadInput, match="oracle.safetensors has another SHA-256"):
        read(tmp_path, "classification", verify_manifest=True)


@pytest.mark.parametrize("name", ["oracle.safetensors", "targets.safetensors", "texts.json"])
def test_a_file_that_is_exchanged_after_its_check_is_not_read(tmp_path, monkeypatch, name):
    def exchanging(path):
        found = checked(path)
        if path.name == name:
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content[:-1] + b"x")
            os.utime(path, ns=(0, 0))
        return found

    checked = evidence.file_sha256
    monkeypatch.setattr(evidence, "file_sha256", exchanging)
    with_texts(tmp_path, json.dumps({"forget": TEXTS}))
    refused(tmp_path, files(), f"{name} has changed since", sealed=True)


def test_without_verification_a_manifest_is_not_looked_at(tmp_path):
    write(tmp_path, files())
    (tmp_path / "manifest.json").write_text("{}")
    assert read(tmp_path, "classification", verify_manifest=False).kind == "classification"


def test_a_listed_file_must_be_there_and_no_other(tmp_path):
    write(tmp_path, files())
    (tmp_path / "null.safetensors").rename(tmp_path / "unlearned-x.safetensors")
    with pytest.raises(BadInput, match="null.safetensors of manifest.json not in"):
        read(tmp_path, "classification", verify_manifest=True)
    content = json.loads((tmp_path / "manifest.json").read_text())
    del content["files"]["null.safetensors"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match="unlearned-x.safetensors in .* but not in manifest.json"):
        read(tmp_path, "classification", verify_manifest=True)


def test_verification_needs_a_manifest_of_this_version(tmp_path):
    write(tmp_path, files(), sealed=False)
    with pytest.raises(BadInput, match="no manifest.json"):
        read(tmp_path, "classification", verify_manifest=True)
    for content in ("not json", "[]", '{"schema": "expunge.evidence/0", "files": {}}', "{}"):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(BadInput, match="is not a manifest of this version"):
            read(tmp_path, "classification", verify_manifest=True)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_damaged_file_is_named(tmp_path, keep):
    write(tmp_path, files(), sealed=False)
    path = tmp_path / "unlearned-dmm.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="unlearned-dmm.safetensors is damaged"):
        read(tmp_path, "classification", verify_manifest=False)
