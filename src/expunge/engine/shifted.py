"""Shifted: an ensemble plus a table of changed outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from expunge.data import Data
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Task


class Change(NamedTuple):
    """How outputs are predicted to change when rows are forgotten.

    (rows, C) each, the same for all members, or (members, rows, C), each member's own.
    """

    mean: Tensor
    sd: Tensor  # standard error of the mean


@dataclass(frozen=True)
class ChangeTable:
    """Predicted changes for every row of every split; a call looks rows up."""

    splits: dict[str, Change] = field(repr=False)

    def __call__(self, split: str, rows: Tensor) -> Change:
        """The predicted change for these rows of "train", "validation" or "test"."""
        mean, sd = self.splits[split]
        return Change(mean[..., rows.cpu(), :], sd[..., rows.cpu(), :])


@dataclass(frozen=True)
class Shifted:
    """An ensemble whose weights stay and whose outputs are shifted by a prediction.

    It answers only for the data that the prediction was made for.
    """

    ensemble: Ensemble
    change: Callable[[str, Tensor], Change]
    splits: Mapping[str, Data]  # the data by the names that `change` knows

    @property
    def ids(self) -> tuple[int, ...]:
        """Member numbers."""
        return self.ensemble.ids

    def outputs(self, task: Task, data: Data, rows: Tensor) -> Tensor:
        """(members, rows, C): the ensemble's outputs plus the predicted change of each row."""
        names = [name for name, known in self.splits.items() if known is data.whole]
        if not names:
            raise BadInput(
                "outputs of a shifted model were asked for other data",
                expected="the problem's own " + ", ".join(self.splits),
                fix="use a method that changes weights (dmm) to answer for new rows",
            )
        own = self.ensemble.outputs(task, data, rows)
        return own + self.change(names[0], rows).mean.to(own.dtype)
