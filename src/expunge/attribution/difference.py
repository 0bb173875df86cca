"""Difference of means: models that saw a row against models that did not.

Source: Feldman and Zhang 2020, arXiv 2008.03703. The effect of a set is the sum over its rows,
w_m = sum over i in F of [i in S_m] / N_i - [i not in S_m] / (M - N_i) as a weight for each of M
models. It is unbiased for a set (up to |F| times the mean effect of a row, since halves of equal
size show effects only relative to that), and noisy: the error's variance is about 4 |F| / M times
that of an output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from expunge.attribution.half_data_models import HalfDataModels
from expunge.engine.shifted import Change
from expunge.errors import BadInput

SURE = 0.01  # chance of too few models that is put up with
MANY = 1000  # half-data models with which a number of them is compared


@dataclass(frozen=True)
class Difference:
    """Half-data models: difference of means as it is."""

    name: ClassVar[str] = "difference"

    halves: HalfDataModels

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """See `Attribution`; the standard error is the noise of so many models."""
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """See `Attribution`."""
        self.halves.require_known(forget)
        weights = difference(self.halves.memberships(forget))
        return {
            split: Change(-found.weighted[0], found.variance.sqrt() * weights.norm())
            for split, found in self.halves.sums(weights[None], asked).items()
        }


def difference(inside: Tensor, parts: int = 1) -> Tensor:
    """The difference of means as weights of the models, (models,) float64, summing to zero.

    Args:
        inside: (models, |F|), 1 where a model was trained on a forgotten row.
        parts: of so many equal parts of all models, these are one.

    Raises:
        BadInput: so few models that some row is in nearly all or none.
    """
    count, models = inside.sum(0), len(inside)
    require_enough(count, models, parts)
    return (inside / count - (1 - inside) / (models - count)).sum(1)


def require_enough(count: Tensor, models: int, parts: int = 1) -> None:
    """Refuse so few models that an effect cannot be told.

    Args:
        count: of the models that were trained on each forgotten row, (|F|,).
        models: how many there are, or in this part of them.
        parts: of so many equal parts of all models, these are one.

    Raises:
        BadInput: some row is in nearly all or none.
    """
    if (count < 2).any() or (count > models - 2).any():
        number, each = len(count), f" in each of {parts} parts" if parts > 1 else ""
        few, many = (f"{relative_error(number, m):.2g}" for m in (parts * models, MANY))
        raise BadInput(
            f"{models} half-data models{each}, "
            "so few that a forgotten row is in nearly all or none",
            expected=f"at least {parts * enough(number)} for {number} forgotten rows",
            fix=f"make more; the standard error of a prediction is {few} times the spread of a "
            f"model's output with so few, {many} times with {MANY:,}",
        )


def relative_error(forget: int, models: int) -> float:
    """The standard error of the predicted effect of a set, in sds of an output over models."""
    return 2 * (forget / models) ** 0.5


def enough(forget: int) -> int:
    """Half-data models with which, almost surely, every forgotten row is in two and out of two."""
    models = 4
    while 2 * forget * (models + 1) * 0.5**models > SURE:
        models += 1
    return models
