"""CIFAR-10: 60,000 colour photographs of 32 x 32 pixels in ten classes, with three networks.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. The data folder
holds it as parquet files with the columns `image` (an encoded picture, without loss) and
`label`, in the official order, so that published row numbers apply.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expunge.errors import BadInput, nearest
from expunge.problem import Classification, Problem, Recipe
from expunge.rng import Draws
from expunge.zoo.balanced import balanced, trial_rows
from expunge.zoo.cifar10_files import TEST, TRAIN, published_rows, read
from expunge.zoo.pictures import Normalise, crop_and_flip
from expunge.zoo.resnet import resnet9, resnet18
from expunge.zoo.small_conv import SMALL_RECIPE, small_conv

MEAN, SD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the train pixels in [0, 1]
RESNET9_SD = (0.2023, 0.1994, 0.2010)  # what the public code of ResNet-9's recipe divides by
ROWS = 45_000


def build_resnet18() -> nn.Module:
    """ResNet-18 behind the normalisation."""
    return nn.Sequential(Normalise(MEAN, SD), resnet18())


def build_resnet9() -> nn.Module:
    """ResNet-9 behind the normalisation."""
    return nn.Sequential(Normalise(MEAN, RESNET9_SD), resnet9())


def build_small() -> nn.Module:
    """The small network; see `small_conv`."""
    return small_conv(10, MEAN, SD)


def steps_down(progress: float) -> float:
    """A tenth of the rate from the middle on, a hundredth from 136/182: epochs 91 and 136."""
    return 1.0 if progress < 91 / 182 else 0.1 if progress < 136 / 182 else 0.01


def triangle(progress: float) -> float:
    """From zero in a line to the full rate at 5/24, epoch 5, and in a line back to zero."""
    peak = 5 / 24
    return progress / peak if progress < peak else (1.0 - progress) / (1.0 - peak)


RECIPES: dict[str, dict[str, Any]] = {
    "resnet18": {
        "build": build_resnet18,
        "epochs": 182,
        "batch_size": 256,
        "l2": 5e-4,
        "optimizer": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        "schedule": steps_down,
        "augment": crop_and_flip,
    },
    "resnet9": {
        "build": build_resnet9,
        "epochs": 24,
        "batch_size": 256,
        "l2": 5e-4,
        "optimizer": partial(torch.optim.SGD, lr=0.4, momentum=0.9),
        "schedule": triangle,
    },
    "small": {"build": build_small, **SMALL_RECIPE},
}


def cifar10(
    model: str = "resnet18",
    data: Path | str | None = None,
    rows: int | None = None,
    *,
    epochs: int | None = None,
    precision: str = "fp32",
    keep: Sequence[int] | Tensor = (),
    published: Sequence[int] = (),
) -> Problem:
    """The problem: 45,000 train and 5,000 validation rows of the official 50,000; 10,000 test.

    Validation has 500 rows of each class, drawn once. A row's id is its official number, so
    `problem.rows_of` reads published lists. Inputs are float32 (n, 3, 32, 32) in [0, 1], on the
    CPU: 740 MB for all rows, decoded in about ten seconds.

    Args:
        model: "resnet18", trained as in the code of Fan et al. 2024, arXiv 2310.12508 (SGD, batch
            256, 182 epochs, random crops and flips), or "resnet9", as in the code of Georgiev et
            al. 2024, arXiv 2410.23232 (24 epochs, no augmentation; there with all 50,000 rows and
            the last batch of an epoch, which is smaller), or "small", a network without batch
            norm trained by plain SGD at a fixed rate (15 epochs). With 5,000 rows a training of
            small takes 22 s on one core (1.5 an epoch), and is right on 64 % of the train, 53 %
            of the validation and 50 % of the test rows (mean of three).
        data: the data folder; see `data_file`.
        rows: train rows for a trial, a multiple of ten, with proportionally few others.
        epochs: other than the model's own, e.g. 1 for a trial.
        precision: "fp32", or "bf16" as a GPU likes it.
        keep: official numbers of rows that shall be train rows.
        published: numbers of published forget sets whose rows shall be train rows, e.g. [5, 7].

    Raises:
        BadInput: an unknown model; a file that is missing or damaged; too few rows; pyarrow or
            pillow is not installed.
    """
    if model not in RECIPES:
        raise BadInput(
            f"unknown model '{model}'{nearest(model, RECIPES)}",
            expected=f"one of {', '.join(RECIPES)}",
            fix="choose one",
        )
    total = trial_rows(rows, ROWS)
    draws = Draws((0, "cifar10", "split"))
    sets = [published_rows(number, data) for number in published]
    kept = torch.cat([torch.as_tensor(keep, dtype=torch.int64), *sets])
    official, test = read(data, TRAIN), read(data, TEST)
    held_out = max(10, total // 90 * 10)
    train, validation = balanced(official.targets, 10, total, held_out, draws, kept)
    judged, _ = balanced(test.targets, 10, max(10, total // 45 * 10), 0, draws.at("test"))
    settings = {**RECIPES[model], **({} if epochs is None else {"epochs": epochs})}
    return Problem(
        Classification(10),
        official.decoded(train),
        official.decoded(validation),
        test.decoded(judged),
        recipe=Recipe(precision=precision, **settings),
        ids=train.tolist(),
        name=f"CIFAR-10, {model}",
    )


def of_official(problem: Problem, official: Tensor) -> Tensor:
    """The train rows of `cifar10` that have these official numbers, int64, in their order.

    Raises:
        BadInput: one of them is no train row, since it went to validation or was left out.
    """
    known = torch.tensor(list(problem.ids or ()), dtype=torch.int64)
    missing = official[~torch.isin(official, known)]
    if len(missing):
        raise BadInput(
            f"official row {missing[0].item()} is not among the train rows ({len(missing)} such)",
            expected="rows that went neither to validation nor out of a trial",
            fix="build the problem with cifar10(keep=...) of these rows, or drop them",
        )
    return problem.rows_of(official.tolist())
