"""CIFAR-10: loading, splitting, the two recipes, published forget sets, and bad files."""

import hashlib
import sys

import numpy as np
import pytest
import torch

from expunge.errors import BadInput
from expunge.rng import seeded
from expunge.training.from_recipe import train
from expunge.zoo.cifar10 import cifar10, of_official, steps_down, triangle
from expunge.zoo.cifar10_files import TEST, TRAIN, published_rows, read
from expunge.zoo.pictures import crop_and_flip

from .files import CIFAR_FILES, encoded, needs, random_pixels, write_cifar10, write_parquet

FIRST, SECOND, JUDGE = (f"cifar10/{name}.parquet" for name in CIFAR_FILES)
REAL = needs(JUDGE)


@pytest.fixture
def folder(tmp_path):
    write_cifar10(tmp_path)
    return tmp_path


def optimizer_settings(recipe):
    """Decay belongs to the recipe's l2, where curvature reads it."""
    optimizer = recipe.optimizer([torch.zeros(1, requires_grad=True)])
    return {k: optimizer.defaults[k] for k in ("lr", "momentum", "weight_decay", "nesterov")}


@pytest.mark.parametrize("kind", ["PNG", "WebP"])
def test_rows_are_the_files_own_under_their_official_numbers(kind, tmp_path):
    pixels, judged = write_cifar10(tmp_path, kind)
    problem = cifar10("resnet9", tmp_path, rows=20)
    assert [len(data) for data in problem.splits.values()] == [20, 10, 10]
    assert tuple(problem.train.inputs.shape) == (20, 3, 32, 32)
    assert problem.train.inputs.dtype == torch.float32
    for row, official in enumerate(problem.ids):
        expected = torch.from_numpy(pixels[official]).permute(2, 0, 1).float() / 255
        assert torch.equal(problem.train.inputs[row], expected)
        in_file = official if official < 20 else official - 20
        assert problem.train.targets[row] == in_file % 10
    assert max(problem.ids) > 20  # of both files
    for data in problem.splits.values():
        assert len(set(data.targets.bincount(minlength=10).tolist())) == 1
    known = {row.numpy().tobytes() for row in problem.train.inputs}
    assert not any(row.numpy().tobytes() in known for row in problem.validation.inputs)
    of_test = {(x / np.float32(255)).tobytes() for x in judged.transpose(0, 3, 1, 2).astype("f4")}
    assert all(row.numpy().tobytes() in of_test for row in problem.test.inputs)


def test_the_recipe_of_resnet18_is_the_published_one(folder):
    recipe = cifar10("resnet18", folder, rows=10).recipe
    settings = optimizer_settings(recipe)
    assert settings == {"lr": 0.1, "momentum": 0.9, "weight_decay": 0, "nesterov": False}
    assert (recipe.epochs, recipe.batch_size, recipe.l2) == (182, 256, 5e-4)
    assert recipe.augment is crop_and_flip
    assert recipe.precision == "fp32"
    steps = 175 * 182
    factors = [steps_down(step / steps) for step in range(steps)]
    assert factors == [1.0] * 175 * 91 + [0.1] * 175 * 45 + [0.01] * 175 * 46
    assert recipe.schedule is steps_down


def test_the_recipe_of_resnet9_is_the_published_one(folder):
    recipe = cifar10("resnet9", folder, rows=10, precision="bf16").recipe
    settings = optimizer_settings(recipe)
    assert settings == {"lr": 0.4, "momentum": 0.9, "weight_decay": 0, "nesterov": False}
    assert (recipe.epochs, recipe.batch_size, recipe.l2) == (24, 256, 5e-4)
    assert recipe.augment is None
    assert recipe.precision == "bf16"
    assert recipe.schedule is triangle
    with seeded(0):
        model = recipe.build()
    zero = model[0](torch.zeros(1, 3, 1, 1)).flatten()
    assert zero.tolist() == pytest.approx([-0.4914 / 0.2023, -0.4822 / 0.1994, -0.4465 / 0.2010])
    found = [triangle(epoch / 24) for epoch in (0, 2.5, 5, 14.5, 24)]
    assert found == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize("model", ["resnet18", "resnet9"])
def test_a_trial_trains(model, folder):
    problem = cifar10(model, folder, rows=10, epochs=1)
    models, cost = train(problem, "original", [0], seed=0)
    assert cost.forward_rows == 10
    assert models.outputs(problem.task, problem.test, torch.arange(10)).shape == (1, 10, 10)


def test_a_trial_has_rows_of_the_whole_and_rows_to_keep_come_first(folder):
    whole = cifar10("resnet9", folder, rows=40)
    trial = cifar10("resnet9", folder, rows=10)
    assert set(trial.ids) < set(whole.ids)
    held_out = sorted(set(range(50)) - set(whole.ids))
    kept = torch.tensor(held_out[3:6])
    assert set(kept.tolist()) <= set(cifar10("resnet9", folder, rows=10, keep=kept).ids)
    with pytest.raises(BadInput, match="row 50 is out of range"):
        cifar10("resnet9", folder, rows=10, keep=[50])


def test_published_rows_become_train_rows_or_are_refused(folder):
    problem = cifar10("resnet9", folder, rows=40)
    missing = min(set(range(50)) - set(problem.ids))
    wanted = [problem.ids[5], problem.ids[2]]
    (folder / "cifar10" / "forget_sets").mkdir()
    np.save(folder / "cifar10" / "forget_sets" / "4.npy", np.array(wanted))
    assert of_official(problem, published_rows(4, folder)).tolist() == [5, 2]
    np.save(folder / "cifar10" / "forget_sets" / "5.npy", np.array([*wanted, missing]))
    with pytest.raises(BadInput, match=rf"official row {missing} is not .*\(1 such\).*keep="):
        of_official(problem, published_rows(5, folder))
    kept = cifar10("resnet9", folder, rows=40, keep=published_rows(5, folder))
    assert cifar10("resnet9", folder, rows=40, published=[5]).ids == kept.ids
    assert [kept.ids[row] for row in of_official(kept, published_rows(5, folder))] == [
        *wanted,
        missing,
    ]


def test_published_rows_that_cannot_be_read(folder):
    with pytest.raises(BadInput, match="published forget set 8. Expected: a number from 1 to 7"):
        published_rows(8, folder)
    with pytest.raises(BadInput, match=r"there is no file .*3\.npy"):
        published_rows(3, folder)
    (folder / "cifar10" / "forget_sets").mkdir()
    path = folder / "cifar10" / "forget_sets" / "3.npy"
    for bad in ([[1]], [1.0], [1, 1], [-1], [50_000], []):
        np.save(path, np.array(bad))
        with pytest.raises(BadInput, match=r"3\.npy is no list of row numbers"):
            published_rows(3, folder)
    path.write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"3\.npy cannot be read"):
        published_rows(3, folder)


@pytest.mark.parametrize("module", ["pyarrow", "PIL"])
def test_without_a_library_the_message_says_how_to_install_it(module, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match=rf"without {module}.*pip install 'expunge\[bench\]'"):
        cifar10("resnet9", folder, rows=10)


def test_an_unknown_model_or_a_wrong_number_of_rows(folder):
    with pytest.raises(BadInput, match=r"unknown model 'resnet' \(did you mean 'resnet"):
        cifar10("resnet", folder)
    with pytest.raises(BadInput, match="505 train rows"):
        cifar10("resnet9", folder, rows=505)
    with pytest.raises(BadInput, match="class 0 has 5 rows. Expected: at least 5000"):
        cifar10("resnet9", folder)


@pytest.mark.parametrize("name", [FIRST, SECOND, JUDGE])
def test_a_missing_or_damaged_file_is_named(name, folder):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=rf"{name} cannot be read"):
        cifar10("resnet9", folder, rows=10)
    (folder / name).unlink()
    with pytest.raises(BadInput, match=rf"there is no file .*{name}"):
        cifar10("resnet9", folder, rows=10)


LABELS = np.arange(20, dtype=np.uint8) % 10
PNGS = [encoded(p, "PNG") for p in random_pixels(20, 32, 32, 3, seed=5)]
SMALL = encoded(random_pixels(1, 16, 16, 3, seed=6)[0], "PNG")
GREY = encoded(random_pixels(1, 32, 32, seed=7)[0], "PNG")
BAD = {
    "no images": ({"label": LABELS}, r"parquet has no column 'image'"),
    "no labels": ({"image": PNGS}, r"parquet has no column 'label'"),
    "text": ({"image": ["a"] * 20, "label": LABELS}, "holds images that are no bytes"),
    "a label of ten": ({"image": PNGS, "label": LABELS + 1}, "labels that are no numbers from 0"),
    "a missing label": ({"image": PNGS, "label": [None] * 20}, "labels that are no numbers"),
    "small": ({"image": [SMALL] * 20, "label": LABELS}, r"picture of shape \(16, 16, 3\)"),
    "grey": ({"image": [GREY] * 20, "label": LABELS}, r"picture of shape \(32, 32\)"),
    "no picture": ({"image": [b"nothing"] * 20, "label": LABELS}, r"has no picture \(Unid\w+\)"),
    "half": ({"image": [p[:900] for p in PNGS], "label": LABELS}, r"has no picture \(OSError\)"),
    "broken": ({"image": [p[:50] + b"?" + p[51:] for p in PNGS], "label": LABELS}, "no picture"),
}


@pytest.mark.parametrize(("columns", "match"), BAD.values(), ids=BAD)
def test_a_file_of_another_form(columns, match, folder):
    write_parquet(folder / JUDGE, **columns)
    with pytest.raises(BadInput, match=match):
        cifar10("resnet9", folder, rows=10)


def test_a_broken_picture_is_named_by_its_place_in_its_file(folder):
    images = [encoded(p, "PNG") for p in random_pixels(30, 32, 32, 3, seed=5)]
    images[4] = b"nothing"
    write_parquet(folder / SECOND, image=images, label=np.arange(30) % 10)
    with pytest.raises(BadInput, match=r"00001-of-00002\.parquet has no picture .* in row 4\. "):
        cifar10("resnet9", folder, rows=40)


@REAL
def test_a_trial_on_the_real_pictures():
    problem = cifar10("resnet9", rows=500)
    assert [len(data) for data in problem.splits.values()] == [500, 50, 110]
    mean, sd = problem.train.inputs.mean((0, 2, 3)), problem.train.inputs.std((0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.02, rtol=0)
    torch.testing.assert_close(sd, torch.tensor([0.2470, 0.2435, 0.2616]), atol=0.02, rtol=0)


@REAL
@pytest.mark.slow
def test_every_real_pixel_is_the_official_one_and_published_sets_can_be_kept():
    """SHA-256 of the pixels (rows, 32, 32, 3) of the official files, in their order."""
    digests = {
        TRAIN: "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        TEST: "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    }
    for names, digest in digests.items():
        records = read(None, names)
        inputs = records.decoded(torch.arange(len(records.targets))).inputs
        pixels = (inputs * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        assert hashlib.sha256(pixels.numpy().tobytes()).hexdigest() == digest
    kept = torch.cat([published_rows(number) for number in range(1, 8)]).unique()
    problem = cifar10("resnet9", keep=kept)
    assert [len(data) for data in problem.splits.values()] == [45_000, 5_000, 10_000]
    assert problem.train.targets.bincount().tolist() == [4500] * 10
    assert len(of_official(problem, kept)) == len(kept)
