"""The hand-written digits that scikit-learn ships: 1,797 real images, 8 x 8 grey, ten classes.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test
part). Needs no download and trains in a fraction of a second, so that hundreds of oracles are
a matter of a minute.
"""

from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from expunge.data import TensorData
from expunge.forget_sets import principal_end
from expunge.problem import Classification, Problem, Recipe
from expunge.rng import Draws

SPLITS = {"train": 1437, "validation": 180, "test": 180}


def build() -> nn.Module:
    """A 64-128-128-10 perceptron with ReLU: 26,122 weights."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def digits() -> Problem:
    """The problem: 1,437 train, 180 validation and 180 test rows, split once at random."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images / 16, dtype=torch.float32)
    classes = torch.tensor(labels, dtype=torch.int64)
    order = Draws((0, "digits", "split")).permutation(len(classes))
    parts = {
        name: TensorData(pixels[rows], classes[rows])
        for name, rows in zip(SPLITS, order.split(list(SPLITS.values())), strict=True)
    }
    optimizer = partial(torch.optim.SGD, lr=0.1)
    recipe = Recipe(build, epochs=20, batch_size=64, optimizer=optimizer)
    return Problem(
        Classification(10),
        parts["train"],
        parts["validation"],
        parts["test"],
        recipe=recipe,
        name="hand-written digits",
    )


def unusual_handwriting(problem: Problem, digit: int = 7, count: int = 30) -> Tensor:
    """Rows of one digit at one end of its first principal component: one way of writing it."""
    data = problem.train
    assert isinstance(data, TensorData)
    return principal_end(data.inputs, (data.targets == digit).nonzero().squeeze(-1), count)


def pictures(problem: Problem, rows: Tensor) -> Tensor:
    """The images of train rows, uint8, (rows, 8, 8), 255 = ink."""
    data = problem.train
    assert isinstance(data, TensorData)
    return (data.inputs[rows] * 255).round().to(torch.uint8).reshape(-1, 8, 8)
