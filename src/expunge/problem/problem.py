"""Problem: task, data, rows present, rows to forget, and how the model was trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from expunge.data import Data
from expunge.errors import BadInput
from expunge.problem.penalised import penalised
from expunge.problem.served import Served
from expunge.problem.task import Task
from expunge.problem.training import Trainer, Training


def _none() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class Problem:
    """One question of unlearning; rows keep their numbers for ever.

    `present` says on which rows the models were trained: rows deleted by earlier requests are
    False, so nothing re-teaches them. `forget` is set by `forgetting`, which validates.
    """

    task: Task
    train: Data
    validation: Data  # for choosing
    test: Data | None = None  # for judging; without it `validation` judges, and the report says so
    recipe: Training | Trainer | None = None
    present: Tensor | None = None  # (n,) bool; None: all rows
    forget: Tensor = field(default_factory=_none)  # int64, sorted
    ids: Sequence[Any] | None = None  # a record id for each train row, if rows have them
    name: str = "a user's problem"

    def __post_init__(self) -> None:
        for name, data in self.splits.items():
            if not isinstance(data, Data):
                raise BadInput(
                    f"{name} is a {type(data).__name__}",
                    expected="rows by number: TensorData, DatasetData, MappedData",
                    fix=f"wrap it: Problem(..., {name}=expunge.DatasetData(...))",
                )
        n = len(self.train)
        if self.present is not None and (
            self.present.dtype != torch.bool or tuple(self.present.shape) != (n,)
        ):
            raise BadInput(
                f"present is {self.present.dtype} of shape {tuple(self.present.shape)}",
                expected=f"a bool mask of shape ({n},)",
                fix="mask = torch.ones(n, dtype=torch.bool); mask[gone] = False",
            )
        distinct = None if self.ids is None else len({str(known) for known in self.ids})
        if self.ids is not None and (len(self.ids) != n or distinct != n):
            raise BadInput(
                f"{len(self.ids)} ids, {distinct} of them distinct as text, for {n} rows",
                expected="one id for each train row, all different",
                fix="correct the ids, or leave them out and use row numbers",
            )

        for name, data in self.splits.items():
            if data.linked and self.present is not None:  # what is gone shows in nothing that stays
                object.__setattr__(self, name, data.restrict(self.present_mask))

    @property
    def present_mask(self) -> Tensor:
        """(n,) bool: rows that the models were trained on."""
        everything = torch.ones(len(self.train), dtype=torch.bool)
        return everything if self.present is None else self.present

    @property
    def present_rows(self) -> Tensor:
        """Their numbers S, int64, sorted."""
        return self.present_mask.nonzero().squeeze(-1)

    @property
    def retain(self) -> Tensor:
        """Row numbers R = S without F, int64, sorted."""
        mask = self.present_mask.clone()
        mask[self.forget] = False
        return mask.nonzero().squeeze(-1)

    @property
    def judge(self) -> Data:
        """The data that judges: test, or validation where there is no test."""
        return self.validation if self.test is None else self.test

    @property
    def training_task(self) -> Task:
        """The task as training has it: with the recipe's penalty in its loss, if it has one."""
        return penalised(self.task, self.training.penalty)

    @property
    def training(self) -> Training:
        """How the models were trained, as far as it is known."""
        if isinstance(self.recipe, Training):
            return self.recipe
        known = Training()
        known.epochs = getattr(self.recipe, "epochs", None)
        known.identity = getattr(self.recipe, "key", "")
        return known

    def served(self, split: str = "train") -> Data:
        """The rows of a split as models without the forgotten rows may see them.

        It is the split itself unless rows are linked (`Data.linked`).
        """
        data = self.splits[split]
        if not data.linked or not len(self.forget):
            return data
        forgotten = torch.zeros(len(data), dtype=torch.bool)
        if split == "train":
            forgotten[self.forget] = True
        return Served(data, data.restrict(self.mask_of(self.retain)), forgotten)

    def mask_of(self, rows: Tensor) -> Tensor:
        """(n,) bool: these rows of the train data."""
        mask = torch.zeros(len(self.train), dtype=torch.bool)
        mask[rows] = True
        return mask

    @property
    def splits(self) -> dict[str, Data]:
        """The data by name: train, validation and, if there is one, test."""
        named = {"train": self.train, "validation": self.validation}
        return named if self.test is None else {**named, "test": self.test}

    def forgetting(self, rows: Any) -> "Problem":
        """The same problem with these rows to forget.

        Args:
            rows: as `named` takes them; none at all is allowed here, so that laws can be tested.

        Raises:
            BadInput: see `named`; all rows forgotten.
        """
        found = self.named(rows)
        if len(found) == int(self.present_mask.sum()):
            raise BadInput(
                f"all {len(found)} rows are to be forgotten",
                expected="at least one row that stays",
                fix="delete the model instead",
            )
        return replace(self, forget=found)

    def named(self, rows: Any) -> Tensor:
        """Numbers of rows present, int64, sorted, however they were named.

        Args:
            rows: row numbers (any sequence or integer tensor), or a bool mask of shape (n,).

        Raises:
            BadInput: a row out of range, given twice or already forgotten.
        """
        n = len(self.train)
        try:
            given = torch.as_tensor(rows)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"rows of type {type(rows).__name__} ({error})",
                expected="whole numbers in one list, or a bool mask",
                fix="pass row numbers such as [3, 17]; record ids go through problem.rows_of",
            ) from error
        if given.dtype == torch.bool:
            if tuple(given.shape) != (n,):
                raise BadInput(
                    f"a bool mask of shape {tuple(given.shape)}",
                    expected=f"shape ({n},)",
                    fix="make the mask as long as the train data, or pass row numbers",
                )
            given = given.nonzero().squeeze(-1)
        if given.numel() and (given.is_floating_point() or given.ndim != 1):
            raise BadInput(
                f"rows of {given.dtype} and shape {tuple(given.shape)}",
                expected="whole numbers in one list, or a bool mask",
                fix="pass row numbers such as [3, 17]",
            )
        given = given.to(torch.int64).cpu()
        outside = given[(given < 0) | (given >= n)]
        if len(outside):
            raise BadInput(
                f"row {outside[0].item()} is out of range ({len(outside)} such)",
                expected=f"row numbers from 0 to {n - 1}",
                fix="check whether the numbers count from 1 or belong to other data",
            )
        sorted_rows, counts = given.unique(return_counts=True)
        if (counts > 1).any():
            raise BadInput(
                f"row {sorted_rows[counts > 1][0].item()} is given more than once",
                expected="each row once",
                fix="drop the repeats, after checking that no other row was meant",
            )
        gone = sorted_rows[~self.present_mask[sorted_rows]]
        if len(gone):
            raise BadInput(
                f"row {gone[0].item()} was already forgotten ({len(gone)} such)",
                expected="rows that the model was trained on",
                fix="leave these rows out; the model's card lists what is gone",
            )
        return sorted_rows

    def without(self, rows: Tensor) -> "Problem":
        """The same problem after an earlier deletion: these rows are no longer present."""
        mask = self.present_mask.clone()
        mask[rows] = False
        return replace(self, present=mask, forget=_none())

    def rows_of(self, ids: Sequence[Any]) -> Tensor:
        """The row numbers of these record ids, int64, in their order.

        Raises:
            BadInput: the problem has no ids, or one is unknown.
        """
        if self.ids is None:
            raise BadInput(
                f"{len(ids)} record ids, but the problem has none",
                expected="row numbers, or a Problem with ids=",
                fix="pass Problem(..., ids=[...]) with the id of each train row",
            )
        numbers = {str(known): row for row, known in enumerate(self.ids)}
        unknown = [given for given in ids if str(given) not in numbers]
        if unknown:
            raise BadInput(
                f"record id '{unknown[0]}' is unknown ({len(unknown)} such)",
                expected=f"ids such as '{self.ids[0]}'",
                fix="check the spelling, or whether the record was in the training data at all",
            )
        return torch.tensor([numbers[str(given)] for given in ids], dtype=torch.int64)
