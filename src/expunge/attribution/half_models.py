"""Datamodels from half-data models: a forget set's effect is a weighted sum of their outputs.

Source: Ilyas et al. 2022, "Datamodels", arXiv 2202.00622 (outputs as a linear function of the rows
trained on); Feldman and Zhang 2020, arXiv 2008.03703 (difference of means); Georgiev et al.
2024, arXiv 2410.23232 (one datamodel a logit, their sum over the forget set).

Two estimators, both linear in the outputs Z (models, outputs) of the half-data models, so that a
forget set F turns into one weight a model, whatever the number of rows and outputs:

  difference of means   w_m = sum over i in F of [i in S_m] / N_i - [i not in S_m] / (M - N_i)
  ridge                 w = (K + lambda I)^-1 X 1_F, with X (models, rows) the centred
                        memberships and K = X X^T; one eigendecomposition serves all lambdas

and the predicted change is -w^T (Z - mean). The forgotten rows' own outputs are predicted by
difference of means, which is unbiased for a set (up to |F| times the mean effect of a row, since
halves of equal size show effects only relative to that): ridge shrinks the effect of rows on
themselves threefold and more, since it cannot tell it from noise with fewer models than rows. All
other outputs are predicted by ridge, which has less error where effects are small. The strength
lambda minimises the leave-one-model-out error of the outputs, never a score of unlearning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from expunge.ensemble import Change
from expunge.errors import BadInput
from expunge.rng import Draws

STRENGTHS = 25  # lambdas tried, from 1e-3 to 1e3 times the mean eigenvalue of K
SAMPLED = 1024  # outputs of each split on which the strength is chosen
CHUNK = 1 << 22  # numbers of Z turned to float64 at a time: 32 MiB


@dataclass(frozen=True)
class HalfModels:
    """Half-data models' memberships and outputs, ready for any forget set.

    Args:
        rows: (models, |S| // 2) int64, the rows that each model was trained on.
        outputs: for each split the outputs of all its rows, (models, rows, C) float32.
        present: (n,) bool, the rows S that halves were drawn from.
    """

    rows: Tensor
    outputs: Mapping[str, Tensor]
    present: Tensor

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """The predicted change of the outputs of `rows` had `forget` not been trained on.

        Args:
            forget: row numbers, each among the rows that halves were drawn from.
            rows: row numbers within the split.
            split: "train", "validation" or "test".

        Returns:
            Mean and standard error, (rows, C) float64. The error is the noise of the finite
            number of models; the shrinkage of ridge is not in it.

        Raises:
            BadInput: rows that no half was drawn from; so few models that some row is in nearly
                all or none.
        """
        self._require_known(forget)
        own = (
            torch.isin(rows, forget)
            if split == "train"
            else torch.zeros(len(rows), dtype=torch.bool)
        )
        mean = torch.empty(len(rows), self.outputs[split].shape[-1], dtype=torch.float64)
        sd = torch.empty_like(mean)
        for chosen, weights in (
            (own, self.mean_weights(forget)),
            (~own, self.ridge_weights(forget)),
        ):
            if chosen.any():
                mean[chosen], sd[chosen] = self._predict(weights, rows[chosen], split)
        return Change(mean, sd)

    def mean_weights(self, forget: Tensor) -> Tensor:
        """The difference of means as weights of the models, (models,) float64, summing to zero."""
        inside = self._memberships[:, forget]
        count, models = inside.sum(0), len(inside)
        if (count < 2).any() or (count > models - 2).any():
            raise BadInput(
                f"{models} half-data models, so few that a forgotten row is in nearly all or none",
                expected="at least two models with and two without each forgotten row",
                cure="train some hundreds of half-data models",
            )
        return (inside / count - (1 - inside) / (models - count)).sum(1)

    def ridge_weights(self, forget: Tensor) -> Tensor:
        """The ridge estimate as weights of the models, (models,) float64."""
        values, vectors = self._gram
        effect = self._centred[:, forget].sum(1)
        return vectors @ ((vectors.T @ effect) / (values + self.strength))

    @cached_property
    def strength(self) -> float:
        """The lambda of least leave-one-model-out error, over outputs sampled from all splits."""
        values, vectors = self._gram
        draws = Draws((0, "strength"))
        pieces = []
        for name in sorted(self.outputs):
            flat = self.outputs[name].flatten(1)
            chosen = draws.at(name).permutation(flat.shape[1])[:SAMPLED]
            pieces.append(flat[:, chosen].double())
        z = torch.cat(pieces, dim=1)
        z = z - z.mean(0)
        rotated = vectors.T @ z
        scale = float(values.mean())
        found = []
        for strength in torch.logspace(-3, 3, STRENGTHS, dtype=torch.float64) * scale:
            shrink = values / (values + strength)
            residual = z - vectors @ (shrink[:, None] * rotated)
            leverage = (vectors.square() * shrink).sum(1) + 1 / len(
                z
            )  # 1/M: the mean is fitted too
            error = (residual / (1 - leverage)[:, None]).square().mean()
            found.append((float(error), float(strength)))
        return min(found)[1]

    @cached_property
    def _memberships(self) -> Tensor:
        members = torch.zeros(len(self.rows), len(self.present), dtype=torch.float64)
        return members.scatter_(1, self.rows, 1.0)

    @cached_property
    def _centred(self) -> Tensor:
        # Columns of absent rows are constant zero and stay zero.
        return self._memberships - self._memberships.mean(0)

    @cached_property
    def _gram(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self._centred @ self._centred.T)
        return values.clamp_min(0.0), vectors

    def _predict(self, weights: Tensor, rows: Tensor, split: str) -> tuple[Tensor, Tensor]:
        z = self.outputs[split]
        size = max(1, CHUNK // (z.shape[0] * z.shape[2]))
        mean, sd = [], []
        for piece in rows.split(size):
            values = z[:, piece].double()
            # weights sum to nearly zero, but outputs are centred so that "nearly" does not matter
            mean.append(-torch.tensordot(weights, values - values.mean(0), dims=1))
            sd.append(values.std(0) * weights.norm())
        return torch.cat(mean), torch.cat(sd)

    def _require_known(self, forget: Tensor) -> None:
        unknown = forget[~self.present[forget]]
        if len(unknown):
            raise BadInput(
                f"row {unknown[0].item()} was in no half-data model ({len(unknown)} such)",
                expected="rows that were present when the attribution was fitted",
                cure="fit the attribution again",
            )
