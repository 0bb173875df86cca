"""Residual networks for 32 x 32 pictures: ResNet-18 with a 3 x 3 stem, and the fast ResNet-9.

Source of ResNet-18: He et al. 2016, "Deep Residual Learning for Image Recognition",
arXiv 1512.03385; differs: a 3 x 3 stem without pooling, as is usual for small pictures, and
torch's own initialisation. Source of ResNet-9: the network of Georgiev et al. 2024, arXiv
2410.23232, in their public code. Both are in pieces that `torch.func.vmap` runs.
"""

import torch
from torch import Tensor, nn


def resnet18(classes: int = 10) -> nn.Module:
    """Four stages of two blocks, 64 to 512 channels: 11,173,962 weights for ten classes."""
    blocks, inner = [], 64
    for outer, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(inner, outer, stride), Block(outer, outer, 1)]
        inner = outer
    stem = [_conv(3, 64), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, GlobalMean(), nn.Linear(512, classes))


def resnet9(classes: int = 10) -> nn.Module:
    """Eight convolutions and a linear layer without bias: 2,274,880 weights for ten classes."""
    return nn.Sequential(
        _unit(3, 64),
        _unit(64, 128, size=5, stride=2),
        Residual(_unit(128, 128), _unit(128, 128)),
        _unit(128, 256),
        nn.MaxPool2d(2),
        Residual(_unit(256, 256), _unit(256, 256)),
        _unit(256, 128, padding=0),
        GlobalMax(),
        nn.Linear(128, classes, bias=False),
        Scale(0.2),
    )


class Block(nn.Module):
    """ReLU(body(x) + shortcut(x)); the shortcut is a 1 x 1 convolution where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inner, outer, stride=stride),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            _conv(outer, outer),
            nn.BatchNorm2d(outer),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            across = _conv(inner, outer, size=1, stride=stride, padding=0)
            self.shortcut = nn.Sequential(across, nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) to (B, outer, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Residual(nn.Sequential):
    """x plus what its layers make of x."""

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return input + super().forward(input)


class GlobalMean(nn.Module):
    """Mean over the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return x.mean((-2, -1))


class GlobalMax(nn.Module):
    """Maximum over the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return x.amax((-2, -1))


class Scale(nn.Module):
    """A constant factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """The shape of x."""
        return x * self.factor


def _conv(
    inner: int, outer: int, size: int = 3, stride: int = 1, padding: int | None = None
) -> nn.Conv2d:
    padding = size // 2 if padding is None else padding
    return nn.Conv2d(inner, outer, size, stride=stride, padding=padding, bias=False)


def _unit(
    inner: int, outer: int, size: int = 3, stride: int = 1, padding: int | None = None
) -> nn.Sequential:
    conv = _conv(inner, outer, size, stride, padding)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), nn.ReLU())
