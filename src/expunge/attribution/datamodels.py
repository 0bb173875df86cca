"""Our best estimator from half-data models: the difference of means, trusted as far as it repeats.

Source: our own, by empirical Bayes (Efron and Morris 1973, "Stein's estimation rule and its
competitors"). The difference of means D is unbiased for half-data models, and noisy. Two halves of
the models give independent D_A and D_B, so <D_A, D_B> estimates the signal's square and
|(D_A + D_B)/2|^2 that of signal and noise together; their quotient k is how far D is to be trusted,
and k D has the least expected error among multiples of D. k is estimated for the forgotten rows,
whose change is large, and for others of each split apart, on the very set that is asked about; no
score of unlearning is used.

Noise has few directions, since all rows answer to the same models, so k is itself uncertain. How
much is measured by dealing the models' parts anew (`shuffles`): from <D_A, D_B> its
root mean square by chance is taken off, so that what could be chance is not trusted.

In half-data models a row weighs twice as much, and effects are up to twice as large as in models of
all rows (`size_correction`). What is predicted is r k D: r = 1/2 for other rows, which settled
training decides, and 3/4 for the forgotten ones, whose effects go along rarer directions, and
which stand in for each other. So large it was against retrained models (docs/attribution.md).

Where a linearised prediction is at hand (`base`), it says what r is of the forgotten rows, what D
lacks because half-data models are all of one size (L_0), and what D should be: H, or for other rows
(L - L_0) / r. The prediction L is then corrected by how far half-data models differ from that:

    L + r k (D - H)

with k as above, of D - H. Half-data models then say where L is wrong, and L fills in where they are
noise. L is not scaled to fit D: each model's L has noise of its own, which would make it too small.

The standard error is that of what remains unknown: r times D's noise times the root of k, where k
is taken as large as chance allows, and with it, as far as D is not trusted, L's own error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.shrinkage import OTHERS, Shrinkage, shrinkage_factor, size_of
from expunge.attribution.size_correction import Sizes
from expunge.attribution.split_half import SplitHalf, forgotten, repeats
from expunge.engine.shifted import Change
from expunge.problem import Problem
from expunge.registry import check, setting


class BasePrediction(Protocol):
    """Another source, which predicts for each model what models of all rows and of half do."""

    def sizes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Sizes]:
        """The predictions of rows of several splits."""
        ...


@dataclass(frozen=True)
class Datamodels:
    """Half-data models: difference of means, trusted as far as it repeats.

    Args:
        halves: half-data models.
        base: another source of predictions of the same problem, or None.
        problem: trust is measured on the rows that are present in it; None: on all.
    """

    name: ClassVar[str] = "datamodels"

    halves: HalfDataModels
    base: BasePrediction | None = None
    shuffles: int = setting(
        16, "shuffles that measure chance; 0 trusts as if there were none", least=0
    )
    size: float | None = setting(
        None, "effect of all rows as a share of that of half of them; none: 1/2, 3/4", above=0
    )
    problem: Problem | None = field(default=None, kw_only=True)
    _found: list[SplitHalf] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check(self)
        if self.problem is not None and self.halves is not None:
            present = self.halves.present & self.problem.present_mask
            object.__setattr__(self, "halves", replace(self.halves, present=present))

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """See `Attribution`."""
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """See `Attribution`; (members, rows, C) with `base`, which predicts for each model."""
        found = self.trusted(forget, asked)
        return {split: change for split, (change, _) in found.items()}

    def trusted(
        self, forget: Tensor, asked: Mapping[str, Tensor]
    ) -> dict[str, tuple[Change, dict[str, Shrinkage]]]:
        """`changes`, and how far each group of rows ("forgotten", "others") is trusted.

        With `base`, the trust told is that of the first model.
        """
        measured = self.repeats(forget)
        if self.base is None:
            return {
                split: _shrunk(measured, split, rows, None, self.size)
                for split, rows in asked.items()
            }
        found = {}
        for split, priors in self._priors(measured, asked).items():
            parts = [_shrunk(measured, split, asked[split], prior, self.size) for prior in priors]
            means, sds = zip(*(change for change, _ in parts), strict=True)
            found[split] = Change(torch.stack(means), torch.stack(sds)), parts[0][1]
        return found

    def repeats(self, forget: Tensor) -> SplitHalf:
        """What the half-data models say of a forget set; of the last one it is remembered."""
        if not (self._found and torch.equal(self._found[0].forget, forget.sort().values)):
            self.remember(repeats(self.halves, forget, self.shuffles))
        return self._found[0]

    def remember(self, measured: SplitHalf) -> None:
        """Take what was measured before, by `repeats` of the same half-data models."""
        self._found[:] = [measured]

    def _priors(
        self, measured: SplitHalf, asked: Mapping[str, Tensor]
    ) -> dict[str, list["_Prior"]]:
        """What the other source says of each model, on the rows asked about and on the probes."""
        assert self.base is not None, "asked for where there is one"
        probes = {split: measured.probes[split].rows for split in asked}
        joined = {split: torch.cat([rows, probes[split]]) for split, rows in asked.items()}
        found = {}
        for split, (whole, fewer, half) in self.base.sizes(measured.forget, joined).items():
            own, half = self._centred(whole.mean.double() - fewer.double()), self._centred(half)
            parts = own, whole.mean.double() - own, half, whole.sd.double()
            found[split] = [_Prior(*member) for member in zip(*parts, strict=True)]
        return found

    def _centred(self, z: Tensor) -> Tensor:
        """As half-data models are read."""
        z = z.double()
        return z - z.mean(-1, keepdim=True) if self.halves.centred else z


class _Prior(NamedTuple):
    """One model's prediction from another source, for the rows asked about and then the probe."""

    own: Tensor  # L - L_0: what these rows do
    rest: Tensor  # L_0, and what shifts all logits alike: left as it is
    half: Tensor  # H
    sd: Tensor  # of L


def _shrunk(
    measured: SplitHalf, split: str, rows: Tensor, prior: _Prior | None, size: float | None
) -> tuple[Change, dict[str, Shrinkage]]:
    """The difference shrunk group by group, for one model or for all."""
    difference, noise = (part[rows] for part in measured.differences[split])
    probe, count = measured.probes[split], len(rows)
    if prior is None:
        nothing = difference.new_zeros(count + len(probe.rows), difference.shape[1])
        prior = _Prior(nothing, nothing, nothing, nothing)
    own = forgotten(split, rows, measured.forget)
    told, tried = (
        _Prior(*(part[where] for part in prior)) for where in (slice(count), slice(count, None))
    )
    mean, variance, trusts = told.rest.clone(), torch.zeros_like(told.rest), {}
    for name, there, probed in (("forgotten", own, probe.own), ("others", ~own, ~probe.own)):
        if there.any():
            if name == "others":
                r = size or OTHERS
                half, asked = tried.own[probed] / r, told.own[there] / r
            else:
                r = size or size_of(tried.own[probed], tried.half[probed])
                half, asked = tried.half[probed], told.half[there]
            trust = trusts[name] = shrinkage_factor(probe.estimates.of(probed), half, r)
            k, _, most = trust
            mean[there] += told.own[there] + r * k * (difference[there] - asked)
            untold = (1 - k) * told.sd[there]
            variance[there] = most * (r * noise[there]).square() + untold.square()
    return Change(mean, variance.sqrt()), trusts
