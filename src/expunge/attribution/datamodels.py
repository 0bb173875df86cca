"""Our best estimator from half-data models: the difference of means, trusted as far as it repeats.

Source: our own, by empirical Bayes (Efron and Morris 1973, "Stein's estimation rule and its
competitors"). The difference of means D is unbiased for a set and noisy. Two halves of the models
give independent D_A and D_B, so <D_A, D_B> estimates the signal's square and |(D_A + D_B)/2|^2 that
of signal and noise together; their quotient k is how far D is to be trusted, and k D has the least
expected error among multiples of D. k is estimated for the forgotten rows, whose change is large,
and for all others apart, on the very set that is asked about; no score of unlearning is used.

Noise has few directions, since all rows answer to the same models, so k and b are themselves
uncertain. How much is measured by dealing the models' parts anew (`shuffles`): from <D_A, D_B> its
root mean square by chance is taken off, so that what could be chance is not trusted.

Where a prediction L from another source is at hand (`around`, e.g. linearised retraining), D is
shrunk towards b L in the place of zero. b = <D, L> / <L, L>, drawn towards 1 (give or take 0.5, as
far off as we have seen L) the more the larger its root mean square by chance: half-data models then
say how large L's effect really is, and L fills in where they are noise.

The standard error is sqrt(k) times D's noise: what remains unknown of a signal of that size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.attribution.attribution import Attribution
from expunge.attribution.difference import difference
from expunge.attribution.halves import Halves
from expunge.ensemble import Change
from expunge.rng import Draws

WIDTH = 0.5  # how far the size of another source's prediction may be off


class Trust(NamedTuple):
    """How one group of rows is predicted: around * L + difference * (D - around * L)."""

    difference: float  # k, in [0, 1]
    around: float  # b, at least 0; 0 without another source


@dataclass(frozen=True)
class Datamodels:
    """Predicts by the shrunken difference of means.

    Args:
        halves: half-data models.
        around: another attribution of the same problem, or None.
        shuffles: with which chance is measured; 0 trusts as if there were no chance.
    """

    halves: Halves
    around: Attribution | None = None
    shuffles: int = 16

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """See `Attribution`."""
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """See `Attribution`; (members, rows, C) where `around` predicts for each model."""
        return {split: change for split, (change, _) in self.trusted(forget, asked).items()}

    def trusted(
        self, forget: Tensor, asked: Mapping[str, Tensor]
    ) -> dict[str, tuple[Change, dict[str, Trust]]]:
        """`changes`, and how far each group of rows ("forgotten", "others") is trusted.

        Where `around` predicts for each model, the trust told is that of the first.
        """
        self.halves.require_known(forget)
        inside = self.halves.memberships(forget)
        weights = torch.zeros(3, len(inside), dtype=torch.float64)
        for half in (0, 1):
            weights[1 + half, half::2] = difference(inside[half::2], parts=2)
        weights[0] = difference(inside)
        shuffled = self._shuffled(weights)
        prior = {} if self.around is None else self.around.changes(forget, asked)
        found = {}
        for split, sums in self.halves.sums(torch.cat([weights, shuffled]), asked).items():
            noise = sums.variance.sqrt() * weights[0].norm()
            centre = prior[split].mean.double() if split in prior else None
            own = torch.isin(asked[split], forget)
            own = own if split == "train" else torch.zeros_like(own)
            whole, first, second, *chance = -sums.weighted
            shape = (self.shuffles, 3, *noise.shape)
            dealt = torch.stack(chance).view(shape) if chance else noise.new_zeros(shape)
            estimates = _Estimates(whole, torch.stack([first, second]), dealt)
            found[split] = _shrunk(estimates, noise, centre, own)
        return found

    def _shuffled(self, weights: Tensor) -> Tensor:
        """The weights dealt to other models, (3 x shuffles, models): what chance alone gives."""
        models, draws = weights.shape[1], Draws((0, "datamodels", "shuffle"))
        found = []
        for k in range(self.shuffles):
            order = draws.at(k).permutation(models)
            halves = [draws.at(k, h).permutation(len(weights[0, h::2])) for h in (0, 1)]
            dealt = torch.zeros_like(weights)
            dealt[0] = weights[0, order]
            for h in (0, 1):
                dealt[1 + h, h::2] = weights[1 + h, h::2][halves[h]]
            found.append(dealt)
        return torch.cat(found) if found else weights[:0]


class _Estimates(NamedTuple):
    """Differences of means of some rows: of all models, of either half of them, and by chance."""

    whole: Tensor  # (rows, C)
    halves: Tensor  # (2, rows, C)
    chance: Tensor  # (shuffles, 3, rows, C): the same three, after dealing the models' parts anew

    def of(self, rows: Tensor) -> "_Estimates":
        return _Estimates(self.whole[rows], self.halves[:, rows], self.chance[:, :, rows])


def _shrunk(
    estimates: _Estimates, noise: Tensor, centre: Tensor | None, own: Tensor
) -> tuple[Change, dict[str, Trust]]:
    """The estimates shrunk group by group.

    Where `centre` has a prediction for each model, so has the result: what one model gets does not
    depend on which others are there.
    """
    if centre is not None and centre.ndim == 3:
        parts = [_shrunk(estimates, noise, one, own) for one in centre]
        changes = [change for change, _ in parts]
        joined = Change(*(torch.stack(each) for each in zip(*changes, strict=True)))
        return joined, parts[0][1]
    middle = torch.zeros_like(noise) if centre is None else centre
    mean, sd, trusts = torch.zeros_like(noise), torch.zeros_like(noise), {}
    for name, rows in (("forgotten", own), ("others", ~own)):
        if rows.any():
            trust = trusts[name] = _trust(estimates.of(rows), middle[rows])
            start = trust.around * middle[rows]
            mean[rows] = start + trust.difference * (estimates.whole[rows] - start)
            sd[rows] = trust.difference**0.5 * noise[rows]
    return Change(mean, sd), trusts


def _trust(found: _Estimates, middle: Tensor) -> Trust:
    shuffled, size = found.chance.flatten(2), float(middle.square().sum())
    around = 0.0
    if size:
        by_chance = float((shuffled[:, 0] @ middle.flatten()).square().mean().sqrt()) / size
        measured = float((found.whole * middle).sum()) / size
        sure = WIDTH**2 / (WIDTH**2 + (by_chance if len(shuffled) else 0.0) ** 2)
        around = max(0.0, 1.0 + sure * (measured - 1.0))
    first, second = found.halves - around * middle
    whole = float(((first + second) / 2).square().sum())
    repeated = float((first * second).sum())
    if len(shuffled):
        repeated -= float((shuffled[:, 1] * shuffled[:, 2]).sum(1).square().mean().sqrt())
    return Trust(min(1.0, max(0.0, repeated / whole)) if whole else 0.0, around)
