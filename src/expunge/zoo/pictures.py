"""Pictures as inputs: numbers in [0, 1], normalised inside the model, shifted and mirrored."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expunge.data import Batch, TensorData
from expunge.problem import Problem
from expunge.rng import Draws

SHIFT = 4  # pixels each way


def inputs_of(pixels: Tensor) -> Tensor:
    """uint8 (n, H, W, C) as float32 (n, C, H, W) in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) / 255


def pictures_of(problem: Problem, rows: Tensor) -> Tensor:
    """Train rows for a report, uint8, (rows, H, W), or (rows, H, W, 3) in colour."""
    data = problem.train
    assert isinstance(data, TensorData)
    shown = (data.inputs[rows] * 255).round().to(torch.uint8)
    return shown.permute(0, 2, 3, 1).squeeze(-1)


class Normalise(nn.Module):
    """(x - mean) / sd of each channel of (..., C, H, W): a layer, so that data stay in [0, 1]."""

    mean: Tensor
    sd: Tensor

    def __init__(self, mean: Sequence[float], sd: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("sd", torch.tensor(sd)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, mean 0 and standard deviation 1 over the data."""
        return (x - self.mean) / self.sd


def crop_and_flip(batch: Batch, draws: Draws) -> Batch:
    """Each picture moved by up to four pixels along each axis, black moving in; half are mirrored.

    The usual augmentation of CIFAR-10: a crop of the picture's own size from it with a margin of
    four black pixels. Inputs are (B, C, H, W), or (K, B, C, H, W) with draws of K members.
    """
    *lead, channels, height, width = batch.inputs.shape
    # drawn on the CPU, where draws are the same on every machine
    offset = draws.at("crop").integers(2 * SHIFT + 1, (lead[-1], 2)).reshape(-1, 2)
    mirrored = draws.at("flip").integers(2, (lead[-1], 1)).reshape(-1, 1).bool()
    y = offset[:, :1] + torch.arange(height)
    across = torch.arange(width)
    x = offset[:, 1:] + torch.where(mirrored, across.flip(0), across)
    x, y = (at.to(batch.inputs.device) for at in (x, y))
    padded = F.pad(batch.inputs.reshape(-1, channels, height, width), [SHIFT] * 4)
    n, wide = len(padded), padded.shape[-1]
    moved = padded.gather(2, y[:, None, :, None].expand(n, channels, height, wide))
    moved = moved.gather(3, x[:, None, None, :].expand(n, channels, height, width))
    return batch._replace(inputs=moved.reshape(batch.inputs.shape))
