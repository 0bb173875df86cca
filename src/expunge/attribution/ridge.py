"""Ridge datamodels: outputs as a linear function of the rows trained on.

Source: Ilyas et al. 2022, "Datamodels", arXiv 2202.00622, with ridge in the place of the lasso. As
a weight for each model, w = (K + lambda I)^-1 X 1_F, with X (models, rows) the centred memberships
and K = X X^T; one eigendecomposition serves all lambdas, forget sets and outputs. The strength
lambda minimises the leave-one-model-out error of the outputs, never a score of unlearning. With
fewer models than rows a set's effect is shrunk many times, in direction it may be right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from expunge.attribution.half_data_models import HalfDataModels
from expunge.engine.shifted import Change
from expunge.rng import Draws

STRENGTHS = 25  # lambdas tried, from 1e-3 to 1e3 times the mean eigenvalue of K
SAMPLED = 1024  # outputs of each split on which the strength is chosen
COLUMNS = 4096  # rows whose memberships are float64 at a time


@dataclass(frozen=True)
class Ridge:
    """Half-data models: ridge regression on the rows trained on."""

    name: ClassVar[str] = "ridge"

    halves: HalfDataModels

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """See `Attribution`; the standard error is the noise, shrinkage is not in it."""
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """See `Attribution`."""
        self.halves.require_known(forget)
        weights = self.weights(forget)
        return {
            split: Change(-found.weighted[0], found.variance.sqrt() * weights.norm())
            for split, found in self.halves.sums(weights[None], asked).items()
        }

    def weights(self, forget: Tensor) -> Tensor:
        """The estimate as weights of the models, (models,) float64."""
        values, vectors = self._gram
        effect = self._centred(forget).sum(1)
        return vectors @ ((vectors.T @ effect) / (values + self.strength))

    def datamodels(self, chosen: Mapping[str, Tensor]) -> Tensor:
        """What the presence of each row adds to some outputs, (n, outputs) float64.

        Args:
            chosen: by split, flat places: row * C + class; splits follow in the order of names.
        """
        values, vectors = self._gram
        z = self.halves.sampled(chosen)
        rotated = (vectors.T @ (z - z.mean(0))) / (values + self.strength)[:, None]
        weights = vectors @ rotated
        every = torch.arange(len(self.halves.present))
        return torch.cat([self._centred(rows).T @ weights for rows in every.split(COLUMNS)])

    @cached_property
    def strength(self) -> float:
        """The lambda of least leave-one-model-out error, over outputs sampled from all splits."""
        values, vectors = self._gram
        draws = Draws((0, "strength"))
        chosen = {
            name: draws.at(name).permutation(rows * classes)[:SAMPLED]
            for name, (rows, classes) in self.halves.splits.items()
        }
        z = self.halves.sampled(chosen)
        z = z - z.mean(0)
        rotated = vectors.T @ z
        scale = float(values.mean())
        found = []
        for strength in torch.logspace(-3, 3, STRENGTHS, dtype=torch.float64) * scale:
            shrink = values / (values + strength)
            residual = z - vectors @ (shrink[:, None] * rotated)
            # 1/M: the mean is fitted too
            leverage = (vectors.square() * shrink).sum(1) + 1 / len(z)
            error = (residual / (1 - leverage)[:, None]).square().mean()
            found.append((float(error), float(strength)))
        return min(found)[1]

    @cached_property
    def _gram(self) -> tuple[Tensor, Tensor]:
        # rows that were never drawn from have constant columns, which centring makes zero
        gram = torch.zeros(len(self.halves), len(self.halves), dtype=torch.float64)
        for columns in torch.arange(len(self.halves.present)).split(COLUMNS):
            part = self._centred(columns)
            gram += part @ part.T
        values, vectors = torch.linalg.eigh(gram)
        return values.clamp_min(0.0), vectors

    def _centred(self, rows: Tensor) -> Tensor:
        inside = self.halves.memberships(rows)
        return inside - inside.mean(0)
