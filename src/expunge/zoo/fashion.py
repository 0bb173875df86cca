"""Fashion-MNIST: grey pictures of clothes, 28 x 28 pixels, ten classes, with two small networks.

Source: Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747. The data folder holds it as
fashion_mnist.npz: x_train (60000, 28, 28, 1), y_train (60000,), x_test and y_test, all uint8, in
the official order.
"""

import zlib
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import TensorData
from expunge.errors import BadInput, nearest
from expunge.problem import Classification, Problem, Recipe
from expunge.problem.recipe import linear
from expunge.rng import Draws
from expunge.zoo.balanced import balanced, trial_rows
from expunge.zoo.data_folder import damaged, data_file
from expunge.zoo.pictures import Normalise, inputs_of

FILE = "fashion_mnist.npz"
SOURCE = (
    "Fashion-MNIST as arrays x_train, y_train, x_test, y_test of uint8, pictures (n, 28, 28, 1)"
)
MEAN, SD = (0.2860,), (0.3530,)  # of the train pixels in [0, 1]
ROWS = 10_000


def build_conv() -> nn.Module:
    """Three convolutions of 16, 32 and 64 channels with batch-norm, 128 hidden: 98,554 weights."""
    layers: list[nn.Module] = [Normalise(MEAN, SD)]
    for inner, outer in ((1, 16), (16, 32), (32, 64)):
        # pooled before the norm, which is a third faster than after it and as accurate
        layers += [nn.Conv2d(inner, outer, 3, padding=1, bias=False), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(outer), nn.ReLU()]
    head = [nn.Flatten(), nn.Linear(64 * 3 * 3, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers, *head)


def build_mlp() -> nn.Module:
    """A 784-64-10 perceptron with ReLU: 50,890 weights."""
    layers = [nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(Normalise(MEAN, SD), *layers)


RECIPES: dict[str, dict[str, Any]] = {
    "conv": {
        "build": build_conv,
        "epochs": 12,
        "batch_size": 64,
        "optimizer": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        "l2": 1e-3,
    },
    # without momentum, so that what a row does to a training adds up more nearly
    "mlp": {
        "build": build_mlp,
        "epochs": 15,
        "batch_size": 128,
        "optimizer": partial(torch.optim.SGD, lr=0.3),
    },
}


def fashion(
    model: str = "conv",
    data: Path | str | None = None,
    rows: int | None = None,
    *,
    epochs: int | None = None,
) -> Problem:
    """The problem: 10,000 train and 2,000 validation rows of the official 60,000; 5,000 test.

    Test rows are of the official test set. All have as many rows of each class and are drawn
    once; a row's id is its official number. Inputs are float32 (n, 1, 28, 28) in [0, 1].

    Args:
        model: "conv" or "mlp". The least time on one core of an AMD EPYC with one thread, and
            the mean accuracy of two trainings of conv and six of mlp:

            ====  ==============  =========  ==============  ========
            name  s per training  train (%)  validation (%)  test (%)
            ====  ==============  =========  ==============  ========
            conv  31 (2.6/epoch)  99.6       89.5            89.2
            mlp   1.3             92.6       86.8            85.7
            ====  ==============  =========  ==============  ========

        data: the data folder; see `data_file`.
        rows: train rows for a trial, a multiple of ten, with proportionally few others.
        epochs: other than the model's own, e.g. 1 for a trial.

    Raises:
        BadInput: an unknown model; a file that is missing or damaged; too few rows.
    """
    if model not in RECIPES:
        raise BadInput(
            f"unknown model '{model}'{nearest(model, RECIPES)}",
            expected=f"one of {', '.join(RECIPES)}",
            fix="choose one",
        )
    total = trial_rows(rows, ROWS)
    draws = Draws((0, "fashion", "split"))
    path = data_file(data, FILE, SOURCE)
    arrays = _arrays(path)
    pixels, targets = arrays["x_train"], arrays["y_train"].long()
    train, validation = balanced(targets, 10, total, max(10, total // 50 * 10), draws)
    judged, _ = balanced(
        arrays["y_test"].long(), 10, max(10, total // 20 * 10), 0, draws.at("test")
    )
    settings = {**RECIPES[model], **({} if epochs is None else {"epochs": epochs})}
    return Problem(
        Classification(10),
        TensorData(inputs_of(pixels[train]), targets[train]),
        TensorData(inputs_of(pixels[validation]), targets[validation]),
        TensorData(inputs_of(arrays["x_test"][judged]), arrays["y_test"][judged].long()),
        recipe=Recipe(schedule=linear, **settings),
        ids=train.tolist(),
        name=f"Fashion-MNIST, {model}",
    )


def _arrays(path: Path) -> dict[str, Tensor]:
    """The four arrays, uint8, checked."""
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            found = {} if missing else {name: torch.from_numpy(file[name]) for name in names}
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise damaged(path, f"cannot be read ({error})", SOURCE) from error
    if missing:
        raise damaged(path, f"has no array '{missing[0]}'", SOURCE)
    for split in ("train", "test"):
        pixels, targets = found[f"x_{split}"], found[f"y_{split}"]
        shapes = tuple(pixels.shape), tuple(targets.shape)
        usable = pixels.dtype == targets.dtype == torch.uint8
        if not usable or shapes != ((len(targets), 28, 28, 1), (len(targets),)):
            what = f"holds x_{split} of {pixels.dtype}, {shapes[0]}, and y_{split} of "
            raise damaged(path, what + f"{targets.dtype}, {shapes[1]}", SOURCE)
        if (targets > 9).any():
            raise damaged(path, f"holds labels above 9 in y_{split}", SOURCE)
    return found
