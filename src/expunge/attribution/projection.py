"""A sparse random projection: many weights become few features, and dot products stay unbiased.

Source: Weinberger et al. 2009, "Feature hashing", arXiv 0902.2206; for gradients in attribution Hu
et al. 2025, "GraSS", arXiv 2505.18976. Every weight is added to one of k features, with a random
sign: P, (weights, k), has one +-1 in each line, so that E[P P^T] = I, and the product of two
projected vectors has no more variance than with a dense P, (|a|^2 |b|^2 + (a.b)^2) / k. A dense P
of two million weights and 2,048 features has four billion entries: too many to keep, and too slow
to draw again for every few rows. Differs: features get as many weights as each other, give or take
one, by a permutation in the place of a hash.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.rng import Draws


@dataclass(frozen=True)
class Projection:
    """P, in 5 bytes a weight. It is drawn on the CPU, so that it is the same on every device.

    With as many features as weights it is the identity.
    """

    weights: int
    dimension: int  # k
    order: Tensor = field(repr=False)  # (k ceil(weights / k),) int32: a weight each, k at a time
    signs: Tensor = field(repr=False)  # int8, +-1, or 0 where no weight is left

    @classmethod
    def draw(
        cls, weights: int, dimension: int, draws: Draws, device: torch.device | str = "cpu"
    ) -> "Projection":
        """A random P.

        Args:
            weights: length of the vectors to be projected.
            dimension: k, at least 1; the number of weights where that is smaller.
            draws: of the permutation and the signs.
            device: where the vectors lie.
        """
        dimension = min(dimension, weights)
        order = torch.arange(weights)
        signs = torch.ones_like(order)
        if dimension < weights:
            size = math.ceil(weights / dimension) * dimension
            order = draws.at("order").permutation(size)
            signs = 2 * draws.at("signs").integers(2, (size,)) - 1
            signs[order >= weights] = 0
        order = order.clamp(max=weights - 1)
        return cls(weights, dimension, order.to(device, torch.int32), signs.to(device, torch.int8))

    def down(self, vectors: Tensor) -> Tensor:
        """P^T of each vector: (B, weights) to (B, k), in the same dtype."""
        spread = vectors.index_select(1, self.order) * self.signs
        return spread.view(len(vectors), -1, self.dimension).sum(1)

    def up(self, vector: Tensor) -> Tensor:
        """P times a vector: (k,) to (weights,), in the same dtype."""
        spread = vector.repeat(len(self.order) // self.dimension) * self.signs
        return vector.new_zeros(self.weights).index_add_(0, self.order, spread)
