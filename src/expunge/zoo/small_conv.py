"""A small convolutional network without batch norm, and its training by plain SGD at a fixed rate.

Nothing in it depends on other rows of a batch, and the optimizer has no memory, as what is known
of unrolling and of linearised retraining assumes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from expunge.zoo.pictures import Normalise

SMALL_RECIPE: dict[str, Any] = {  # of a Recipe, but for the model
    "epochs": 15,
    "batch_size": 128,
    "optimizer": partial(torch.optim.SGD, lr=0.1),
}


def small_conv(classes: int, mean: Sequence[float], sd: Sequence[float]) -> nn.Module:
    """Three convolutions of 16, 32 and 64 channels, each halved by its largest, and a linear head.

    Of pictures (B, 3, 32, 32) in [0, 1] it makes logits (B, classes): 23,584 weights, and 1,025
    for each class.

    Args:
        classes: how many.
        mean: of each colour of the train pixels.
        sd: likewise.
    """
    layers: list[nn.Module] = [Normalise(mean, sd)]
    for inner, outer in ((3, 16), (16, 32), (32, 64)):
        # pooled before the ReLU, which is faster than after it and the same
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, classes))
