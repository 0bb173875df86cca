"""Lasso datamodels: each output as a sparse linear function of the rows trained on.

Source: Ilyas et al. 2022, "Datamodels", arXiv 2202.00622: the strength is chosen for each output
on models that were held out (every tenth), and the fit is made again with all models. Differs:
scikit-learn's path of 50 strengths down to 0.01 of the largest, where theirs has 100 down to 1e-6.
It is the published estimator, and a yardstick here: a second or so an output, so ask about few
rows; and it shrinks a set's effect as ridge does. Its standard error is not estimated, and 0.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, ClassVar

import torch
from sklearn.linear_model import lasso_path
from torch import Tensor

from expunge.attribution.half_data_models import HalfDataModels
from expunge.engine.shifted import Change
from expunge.errors import BadInput

HELD_OUT = 10  # every tenth model chooses the strength
STRENGTHS, SMALLEST = 50, 0.01
FEWEST = 2 * HELD_OUT
LONG = 60.0  # seconds that are told beforehand


@dataclass(frozen=True)
class Lasso:
    """Half-data models: the lasso, as published; a second an output."""

    name: ClassVar[str] = "lasso"
    cheap: ClassVar[bool] = False

    halves: HalfDataModels

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """See `Attribution`."""
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """See `Attribution`.

        Raises:
            BadInput: fewer than 20 half-data models.
        """
        self.halves.require_known(forget)
        if len(self.halves) < FEWEST:
            raise BadInput(
                f"a lasso from {len(self.halves)} half-data models",
                expected=f"at least {FEWEST}: every tenth one chooses its strength",
                fix="make more; some hundreds predict well",
            )
        column = torch.full((len(self.halves.present),), -1)
        column[self._present] = torch.arange(len(self._present))
        own, found = column[forget], {}
        for split, rows in asked.items():
            classes = self.halves.splits[split][1]
            places = (rows[:, None] * classes + torch.arange(classes)).flatten()
            outputs = self.halves.sampled({split: places})
            effects = torch.stack([self._effects(z)[own].sum() for z in _told(outputs.T)])
            mean = -effects.view(len(rows), classes)
            found[split] = Change(mean, torch.zeros_like(mean))
        return found

    def _effects(self, z: Tensor) -> Tensor:
        """Of every present row on one output of each model, (present,)."""
        x, held = self._memberships, torch.arange(len(z)) % HELD_OUT == HELD_OUT - 1
        strengths, paths = _path(x[~held], z[~held])
        centre = x[~held].mean(0)
        said = z[~held].mean() + (x[held] - centre) @ paths
        best = int((said - z[held, None]).square().mean(0).argmin())
        return _path(x, z, strengths[: best + 1])[1][:, -1]

    @cached_property
    def _present(self) -> Tensor:
        return self.halves.present.nonzero().squeeze(-1)

    @cached_property
    def _memberships(self) -> Tensor:
        return self.halves.memberships(self._present)


def _told(outputs: Tensor) -> Iterator[Tensor]:
    """The outputs one by one, with a warning after the first if all will take long."""
    start = perf_counter()
    for k, z in enumerate(outputs):
        yield z
        left = (perf_counter() - start) * (len(outputs) - 1)
        if not k and left > LONG:
            warnings.warn(
                f"the lasso takes about {left / 60:,.0f} minutes more for {len(outputs):,} outputs;"
                " --attribution datamodels takes seconds",
                stacklevel=2,
            )


def _path(x: Tensor, z: Tensor, strengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Strengths from large to small, and coefficients for each, (present, strengths)."""
    centred, values = (x - x.mean(0)).numpy(), (z - z.mean()).numpy()
    given: Any = STRENGTHS if strengths is None else strengths.numpy()
    # without a seed it draws one from the global generator, and does not use it
    found, paths, *_ = lasso_path(centred, values, alphas=given, eps=SMALLEST, random_state=0)
    return torch.as_tensor(found.copy()), torch.as_tensor(paths)
