"""Layers whose weights meet their inputs in a matrix product, and what goes in and out of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.curvature.point import Weights


@dataclass(frozen=True)
class Layer:
    """A Linear or Conv2d: outputs (o,) are a matrix (o, a) times inputs (a,), at each place.

    The bias, where it may move, is the matrix's last column, and 1 the last input.
    """

    name: str
    module: nn.Module
    weight: str  # names of the parameters
    bias: str  # "" if there is none, or if it is frozen

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters in the matrix."""
        return (self.weight, self.bias) if self.bias else (self.weight,)

    @property
    def shape(self) -> tuple[int, int]:
        """Sides (o, a) of the matrix."""
        weight: Any = self.module.weight
        outputs, inputs = weight.flatten(1).shape
        return outputs, inputs + bool(self.bias)

    def matrix(self, weights: Weights) -> Tensor:
        """The layer's part of weights as one matrix (o, a)."""
        flat = weights[self.weight].flatten(1)
        return torch.cat([flat, weights[self.bias][:, None]], 1) if self.bias else flat

    def apart(self, matrix: Tensor, like: Weights) -> Weights:
        """The inverse of `matrix`, shaped as `like`."""
        found = {self.weight: matrix[:, : matrix.shape[1] - bool(self.bias)]}
        found = {self.weight: found[self.weight].reshape(like[self.weight].shape)}
        return found | ({self.bias: matrix[:, -1]} if self.bias else {})

    def inputs(self, x: Tensor) -> Tensor:
        """What the matrix is multiplied by, (B, places, a)."""
        module = self.module
        if isinstance(module, nn.Conv2d):
            padding = 0 if isinstance(module.padding, str) else module.padding
            patches = F.unfold(
                x, module.kernel_size, module.dilation, padding, module.stride
            ).transpose(1, 2)
        else:
            patches = x.reshape(len(x), -1, x.shape[-1])
        return F.pad(patches, (0, 1), value=1.0) if self.bias else patches

    def outputs(self, y: Tensor) -> Tensor:
        """What comes out, or a slope in it, (B, places, o)."""
        if isinstance(self.module, nn.Conv2d):
            return y.flatten(2).transpose(1, 2)
        return y.reshape(len(y), -1, y.shape[-1])


def layers(module: nn.Module) -> list[Layer]:
    """The layers of a module that can move, in its order.

    Left out are convolutions that are grouped or padded otherwise than by zeros, and weights that
    several places share.
    """
    owners = {}
    for name, part in module.named_modules(remove_duplicate=False):
        for p in part.parameters(recurse=False):
            owners.setdefault(p, []).append(name)
    found = []
    for name, part in module.named_modules():
        plain = isinstance(part, nn.Linear) or (
            isinstance(part, nn.Conv2d)
            and part.groups == 1
            and part.padding_mode == "zeros"
            and not isinstance(part.padding, str)
        )
        own = dict(part.named_parameters(recurse=False))
        # a weight that is computed from others (weight norm) is no parameter of the layer
        free = "weight" in own and own["weight"].requires_grad
        if plain and free and all(len(owners[p]) == 1 for p in own.values()):
            prefix = f"{name}." if name else ""
            bias = "bias" in own and own["bias"].requires_grad
            found.append(Layer(name, part, f"{prefix}weight", f"{prefix}bias" if bias else ""))
    return found


@contextmanager
def recorded(chosen: list[Layer]) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Inside, what goes in and out of the layers at each call, by the layer's name."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {layer.name: [] for layer in chosen}

    def look(name: str, given: Any, out: Any) -> Tensor:
        seen[name].append((given[0].detach(), out))
        return out.clone()  # what follows may write into its input, as ReLU(inplace=True) does

    hooks = [
        layer.module.register_forward_hook(
            lambda _, given, out, name=layer.name: look(name, given, out)
        )
        for layer in chosen
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
