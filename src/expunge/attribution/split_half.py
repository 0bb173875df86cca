"""A difference of means of one forget set, and how far it repeats: all that half-data models say.

It is measured once for a forget set, in two passes over the models: the difference for every row of
every split, and, for some rows of each split (`Probe`), what either half of the models says and
what chance alone would. How far it is trusted (`datamodels`) then does not depend on which rows are
asked about.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.attribution.difference import difference
from expunge.attribution.half_data_models import HalfDataModels
from expunge.engine.shifted import Change
from expunge.rng import Draws

PROBED = 500  # rows of a split, besides the forgotten ones, on which trust is measured


class Estimates(NamedTuple):
    """Differences of means of some rows: of all models, of either half of them, and by chance."""

    whole: Tensor  # (rows, C)
    halves: Tensor  # (2, rows, C)
    chance: Tensor  # (shuffles, 3, rows, C): the same three, after dealing the models' parts anew

    def of(self, rows: Tensor) -> "Estimates":
        """Those of some of the rows."""
        return Estimates(self.whole[rows], self.halves[:, rows], self.chance[:, :, rows])

    @property
    def by_chance(self) -> float:
        """Root mean square of <D_A, D_B> by chance alone; 0 where it was not measured."""
        _, first, second = self.chance.flatten(2).unbind(1)
        return float((first * second).sum(1).square().mean().sqrt()) if len(first) else 0.0


class Probe(NamedTuple):
    """What trust in one split's rows is measured on."""

    rows: Tensor
    own: Tensor  # (rows,) bool: the forgotten ones
    estimates: Estimates


class SplitHalf(NamedTuple):
    """What half-data models say of one forget set."""

    forget: Tensor  # sorted
    differences: Mapping[str, Change]  # of every row of each split: the difference and its noise
    probes: Mapping[str, Probe]


def repeats(halves: HalfDataModels, forget: Tensor, shuffles: int) -> SplitHalf:
    """Measure what these models say of a forget set.

    Args:
        halves: half-data models.
        forget: rows that halves were drawn from.
        shuffles: with which chance is measured.

    Raises:
        BadInput: a row that no half was drawn from; too few models for so many rows.
    """
    halves.require_known(forget)
    forget = forget.sort().values
    weights = weightings(halves.memberships(forget), shuffles)
    everything = {split: torch.arange(rows) for split, (rows, _) in halves.splits.items()}
    differences = {
        split: Change(-sums.weighted[0], sums.variance.sqrt() * weights[0].norm())
        for split, sums in halves.sums(weights[:1], everything).items()
    }
    probed = {split: _probed(halves, forget, split) for split in everything}
    probes = {}
    for split, sums in halves.sums(weights, probed).items():
        whole, first, second, *chance = -sums.weighted
        shape = (shuffles, 3, *whole.shape)
        dealt = torch.stack(chance).view(shape) if chance else whole.new_zeros(shape)
        own = forgotten(split, probed[split], forget)
        estimates = Estimates(whole, torch.stack([first, second]), dealt)
        probes[split] = Probe(probed[split], own, estimates)
    return SplitHalf(forget, differences, probes)


def forgotten(split: str, rows: Tensor, forget: Tensor) -> Tensor:
    """Which rows of a split are forgotten, (rows,) bool."""
    own = torch.isin(rows, forget)
    return own if split == "train" else torch.zeros_like(own)


def weightings(inside: Tensor, shuffles: int) -> Tensor:
    """Weights of models, (3 + 3 x shuffles, models): whole, even, odd, and these dealt anew.

    Args:
        inside: (models, |F|), 1 where a model was trained on a forgotten row.
        shuffles: how often the weights are dealt to other models, each half's within that half.
    """
    weights = torch.zeros(3, len(inside), dtype=torch.float64)
    for half in (0, 1):  # first, as a half is sooner too small
        weights[1 + half, half::2] = difference(inside[half::2], parts=2)
    weights[0] = difference(inside)
    found, draws = [weights], Draws((0, "datamodels", "shuffle"))
    for k in range(shuffles):
        dealt = torch.zeros_like(weights)
        dealt[0] = weights[0, draws.at(k).permutation(len(inside))]
        for half in (0, 1):
            own = weights[1 + half, half::2]
            dealt[1 + half, half::2] = own[draws.at(k, half).permutation(len(own))]
        found.append(dealt)
    return torch.cat(found)


def _probed(halves: HalfDataModels, forget: Tensor, split: str) -> Tensor:
    """The forgotten rows, and some others at random."""
    if split == "train":
        others = halves.present.clone()
        others[forget] = False
        rows = others.nonzero().squeeze(-1)
    else:
        rows, forget = torch.arange(halves.splits[split][0]), forget[:0]
    order = Draws((0, "datamodels", "probe", split)).permutation(len(rows))
    return torch.cat([forget, rows[order[:PROBED]].sort().values])
