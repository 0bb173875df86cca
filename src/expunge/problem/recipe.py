"""Recipe: training from scratch whose every step this package knows."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.data import Batch, Data
from expunge.errors import BadInput
from expunge.problem.training import Training
from expunge.rng import Draws

PRECISIONS = ("fp32", "bf16")


def constant(progress: float) -> float:
    """The learning rate stays."""
    return 1.0


def linear(progress: float) -> float:
    """The learning rate falls in a line to zero."""
    return 1.0 - progress


def cosine(progress: float) -> float:
    """The learning rate falls to zero along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Recipe(Training):
    """Training from scratch that this package can run, many members at once.

    An epoch is floor(rows / batch_size) full batches of a fresh permutation (of the first one
    again without `reshuffle`). Every draw comes from the member's seed. The loss is the mean over
    the batch plus l2/2 |theta|^2.
    """

    build: Callable[[], nn.Module]  # a fresh model; runs under a forked, seeded global generator
    epochs: int = field()  # pyright: ignore[reportIncompatibleVariableOverride]
    batch_size: int
    optimizer: Callable[[Any], torch.optim.Optimizer]  # of named parameters; element-wise
    schedule: Callable[[float], float] = constant  # progress in [0, 1] -> factor on the lr
    l2: float = 0.0  # the one place that influence and Newton read; not the optimizer's decay
    augment: Callable[[Batch, Draws], Batch] | None = None
    penalty: Callable[[Tensor, Batch], Tensor] | None = None  # of outputs: (B,), added to the loss
    clip: float | None = None  # largest gradient norm of a member
    precision: str = "fp32"  # or "bf16": matrix products under autocast
    ema: float | None = None  # decay a step of averaged weights, which are then the result
    fit: Callable[[nn.Module, Data, Tensor], None] | None = None  # on the fresh model and its rows
    reshuffle: bool = True  # False: every epoch passes in the same order, drawn once a member
    stepwise: ClassVar[bool] = True
    key: str = ""  # part of the recipe's name; change it when something outside this recipe changes

    def __post_init__(self) -> None:
        counts = self.epochs, self.batch_size
        if not all(isinstance(count, int) for count in counts) or min(counts) < 1:
            raise BadInput(
                f"epochs={self.epochs!r} and batch_size={self.batch_size!r}",
                expected="whole numbers, both at least 1",
                fix="set them as the original model was trained",
            )
        if self.precision not in PRECISIONS:
            raise BadInput(
                f"precision '{self.precision}'", expected=f"one of {PRECISIONS}", fix="choose one"
            )

    def steps(self, rows: int) -> int:
        """Optimizer steps of one training on so many rows."""
        return self.epochs * max(1, rows // self.batch_size)

    def rows_read(self, rows: int) -> int:
        """Rows that one training on so many rows reads, with repetition."""
        return self.steps(rows) * min(self.batch_size, rows)
