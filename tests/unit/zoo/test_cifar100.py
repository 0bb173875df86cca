"""25 classes of CIFAR-100: rows under their numbers, classes in order, the small network."""

import pytest
import torch

from expunge.errors import BadInput
from expunge.rng import seeded
from expunge.training.from_recipe import train
from expunge.zoo.cifar10 import cifar10
from expunge.zoo.cifar100 import CLASSES, TRAIN, cifar100
from expunge.zoo.small_conv import small_conv

from .files import encoded, needs, random_pixels, write_cifar10, write_cifar100, write_parquet

REAL = needs(TRAIN)


def test_rows_are_the_file_s_own_under_their_numbers(tmp_path):
    pixels = write_cifar100(tmp_path)
    problem = cifar100(tmp_path, rows=50)
    assert [len(data) for data in problem.splits.values()] == [50, 25, 25]
    for row, official in enumerate(problem.ids):
        expected = torch.from_numpy(pixels[official]).permute(2, 0, 1).float() / 255
        assert torch.equal(problem.train.inputs[row], expected)
        assert problem.train.targets[row] == official % 25
    for data in problem.splits.values():
        assert data.targets.bincount().tolist() == [len(data) // 25] * 25
    known = {row.numpy().tobytes() for row in problem.train.inputs}
    assert not any(row.numpy().tobytes() in known for row in problem.validation.inputs)


def test_classes_are_numbered_in_the_order_of_their_official_numbers():
    assert len(CLASSES) == 25
    assert list(CLASSES) == sorted(set(CLASSES))
    assert 0 <= min(CLASSES) < max(CLASSES) < 100


def test_a_class_that_is_not_among_them_is_refused(tmp_path):
    write_cifar100(tmp_path)
    images = [encoded(p, "PNG") for p in random_pixels(2, 32, 32, 3, seed=0)]
    write_parquet(tmp_path / TRAIN, image=images, fine_label=[0, 1])
    with pytest.raises(BadInput, match=r"holds pictures of the class 1\. Expected: those of .*98"):
        cifar100(tmp_path, rows=25)
    write_parquet(tmp_path / TRAIN, image=images, fine_label=[0, 100])
    with pytest.raises(BadInput, match="labels that are no numbers from 0 to 99"):
        cifar100(tmp_path, rows=25)


def test_a_wrong_number_of_rows(tmp_path):
    write_cifar100(tmp_path)
    with pytest.raises(BadInput, match="40 train rows. Expected: a multiple of 25"):
        cifar100(tmp_path, rows=40)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_small_network_is_trained_by_plain_sgd_at_a_fixed_rate(name, tmp_path):
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    caches = {
        "cifar10": lambda: cifar10("small", tmp_path, rows=20, epochs=2),
        "cifar100": lambda: cifar100(tmp_path, rows=25, epochs=2),
    }
    problem = caches[name]()
    recipe = problem.recipe
    optimizer = recipe.optimizer([torch.zeros(1, requires_grad=True)])
    wanted = {"lr": 0.1, "momentum": 0, "weight_decay": 0}
    assert type(optimizer) is torch.optim.SGD
    assert {name: optimizer.defaults[name] for name in wanted} == wanted
    assert (recipe.batch_size, recipe.l2, recipe.augment, recipe.epochs) == (128, 0.0, None, 2)
    assert [recipe.schedule(at) for at in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
    models, _ = train(problem, "original", [0], seed=0)
    found = models.outputs(problem.task, problem.test, torch.arange(10))
    assert tuple(found.shape) == (1, 10, problem.task.classes)


def test_an_output_of_the_small_network_depends_on_its_own_row_alone():
    with seeded(0):
        model = small_conv(25, (0.5,) * 3, (0.25,) * 3)
        x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model.train()(x)[2:3], model.eval()(x[2:3]), atol=1e-6)
    assert sum(p.numel() for p in model.parameters()) == 23_584 + 25 * 1_025
    assert not {type(part).__name__ for part in model.modules()} & {"BatchNorm2d", "Dropout"}


@REAL
def test_a_trial_on_the_real_pictures():
    problem = cifar100(rows=500)
    assert [len(data) for data in problem.splits.values()] == [500, 50, 100]
    mean, sd = problem.train.inputs.mean((0, 2, 3)), problem.train.inputs.std((0, 2, 3))
    torch.testing.assert_close(mean, torch.tensor([0.5352, 0.5023, 0.4634]), atol=0.03, rtol=0)
    torch.testing.assert_close(sd, torch.tensor([0.2786, 0.2721, 0.2943]), atol=0.03, rtol=0)
