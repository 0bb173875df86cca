"""CIFAR-100, five of its twenty superclasses: 15,000 photographs in 25 classes, small network.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. The data folder
holds all rows of 25 of the 100 classes as parquet files with the columns `image` (an encoded
picture, without loss) and `fine_label` (official number 0 to 99), sorted by label.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from expunge.errors import BadInput
from expunge.problem import Classification, Problem, Recipe
from expunge.rng import Draws
from expunge.zoo.balanced import balanced, trial_rows
from expunge.zoo.cifar_files import Records, read_cifar
from expunge.zoo.small_conv import SMALL_RECIPE, small_conv

TRAIN, TEST = "cifar100_25class_train.parquet", "cifar100_25class_test.parquet"
SOURCE = "25 classes of CIFAR-100 as a parquet file with columns image and fine_label"
CLASSES = (  # official numbers; class k of the problem is the k-th
    *(0, 2, 11, 22, 23, 33, 35, 39, 40, 41, 46, 49, 51),
    *(53, 57, 60, 69, 71, 81, 83, 85, 86, 87, 89, 98),
)
MEAN, SD = (0.5352, 0.5023, 0.4634), (0.2786, 0.2721, 0.2943)  # of the train pixels in [0, 1]
ROWS = 11_250


def build_small() -> nn.Module:
    """The small network; see `small_conv`."""
    return small_conv(len(CLASSES), MEAN, SD)


def cifar100(
    data: Path | str | None = None, rows: int | None = None, *, epochs: int | None = None
) -> Problem:
    """The problem: 11,250 train and 1,250 validation rows of 12,500, and 2,500 test rows.

    All have as many rows of each class and are drawn once; a row's id is its number in the file.
    Inputs are float32 (n, 3, 32, 32) in [0, 1]. The network is that of "cifar10-small". With 5,000
    rows a training takes 22 s on one core (1.5 an epoch), and is right on 63 % of the train, 45 %
    of the validation and 47 % of the test rows (mean of three).

    Args:
        data: the data folder; see `data_file`.
        rows: train rows for a trial, a multiple of 25, with proportionally few others.
        epochs: other than 15, e.g. 1 for a trial.

    Raises:
        BadInput: a file that is missing or damaged; too few rows; pyarrow or pillow is not
            installed.
    """
    count = len(CLASSES)
    total = trial_rows(rows, ROWS, classes=count)
    draws = Draws((0, "cifar100", "split"))
    official, test = _read(data, TRAIN), _read(data, TEST)
    held_out = max(count, total // (9 * count) * count)
    train, validation = balanced(official.targets, count, total, held_out, draws)
    shown = max(count, 2 * (total // (9 * count)) * count)
    judged, _ = balanced(test.targets, count, shown, 0, draws.at("test"))
    settings = {**SMALL_RECIPE, **({} if epochs is None else {"epochs": epochs})}
    return Problem(
        Classification(count),
        official.decoded(train),
        official.decoded(validation),
        test.decoded(judged),
        recipe=Recipe(build=build_small, **settings),
        ids=train.tolist(),
        name="CIFAR-100, 25 classes, small",
    )


def _read(data: Path | str | None, name: str) -> Records:
    """The rows of a file, their classes numbered from 0 to 24."""
    found = read_cifar(data, [name], "CIFAR-100", SOURCE, label="fine_label", classes=100)
    number = torch.full((100,), -1)
    number[list(CLASSES)] = torch.arange(len(CLASSES))
    targets = number[found.targets]
    if (targets < 0).any():
        label = int(found.targets[targets < 0][0])
        raise BadInput(
            f"{next(iter(found.paths))} holds pictures of the class {label}",
            expected=f"those of the classes {', '.join(map(str, CLASSES))}",
            fix="fetch or convert the file again, with these classes only",
        )
    return replace(found, targets=targets)
