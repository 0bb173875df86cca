"""Problem: task, data, rows present, rows to forget, and how the model was trained."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from expunge.data import Data
from expunge.errors import BadInput
from expunge.problem.penalised import penalised
from expunge.problem.people import People, PeopleCount
from expunge.problem.recipe import Recipe
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
    ids: Any = None  # one a train row, if rows have them; all rows of an id are one person
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
        if self.ids is not None and not isinstance(self.ids, People):
            object.__setattr__(self, "ids", People(self.ids))  # checked here and never again
        if self.ids is not None and len(self.ids) != n:
            raise BadInput(
                f"{len(self.ids)} ids for {n} rows",
                expected="one id for each train row; all rows of an id are one person",
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

    @property
    def stepwise_recipe(self) -> Recipe:
        """The recipe of a problem whose training is `stepwise`."""
        assert isinstance(self.recipe, Recipe), "other trainings are refused or handled before"
        return self.recipe

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

    def forgetting(self, rows: Any = None, *, ids: Any = None) -> "Problem":
        """The same problem with these rows, or with the rows of these persons, to forget.

        Args:
            rows: as `named` takes them; none at all is allowed here, so that laws can be tested.
            ids: as `named` takes them, instead of rows.

        Raises:
            BadInput: see `named`; all rows forgotten.
        """
        found = self.named(rows, ids=ids)
        if len(found) == int(self.present_mask.sum()):
            raise BadInput(
                f"all {len(found)} rows are to be forgotten",
                expected="at least one row that stays",
                fix="delete the model instead",
            )
        return replace(self, forget=found)

    def named(self, rows: Any = None, *, ids: Any = None) -> Tensor:
        """Numbers of rows present, int64, sorted, however they were named.

        Args:
            rows: row numbers (any sequence or integer tensor), or a bool mask of shape (n,).
            ids: record ids instead: all rows of these persons that are still present.

        Raises:
            BadInput: a row out of range, given twice or already forgotten; an id that is unknown,
                given twice, or of which all rows are already forgotten; both rows and ids, or none.
        """
        if (rows is None) == (ids is None):
            raise BadInput(
                "neither rows nor ids" if rows is None else "rows and ids",
                expected="one of them: row numbers or a bool mask, or record ids",
                fix="pass rows=[3, 17] or ids=['p3', 'p17']",
            )
        return self._checked_rows(rows) if ids is None else self._present_rows_of(ids)

    def _present_rows_of(self, ids: Any) -> Tensor:
        people, mask = self._people(ids), self.present_mask
        persons = people.persons_of(ids)
        people.refuse_gone(persons, mask)
        found = people.rows_of(persons)
        return found[mask[found]].sort().values

    def _checked_rows(self, rows: Any) -> Tensor:
        n = len(self.train)
        try:
            given = torch.as_tensor(rows)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"rows of type {type(rows).__name__} ({error})",
                expected="whole numbers in one list, or a bool mask",
                fix="pass row numbers such as [3, 17]; record ids go into ids=[...]",
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
                f"{self.row_name(sorted_rows[counts > 1][0])} is given more than once",
                expected="each row once",
                fix="drop the repeats, after checking that no other row was meant",
            )
        gone = sorted_rows[~self.present_mask[sorted_rows]]
        if len(gone):
            raise BadInput(
                f"{self.row_name(gone[0])} was already forgotten ({len(gone)} such)",
                expected="rows that the model was trained on",
                fix="leave these rows out; the model's card lists what is gone",
            )
        return sorted_rows

    def without(self, rows: Tensor) -> "Problem":
        """The same problem after an earlier deletion: these rows are no longer present."""
        mask = self.present_mask.clone()
        mask[rows] = False
        return replace(self, present=mask, forget=_none())

    def rows_of(self, ids: Any) -> Tensor:
        """All rows of these record ids, present or not, int64, in the order of the ids.

        Raises:
            BadInput: the problem has no ids; an id is unknown or given twice.
        """
        people = self._people(ids)
        return people.rows_of(people.persons_of(ids))

    def people(self) -> PeopleCount | None:
        """How many records of how many persons are to be forgotten; None if rows have no ids."""
        return None if self.ids is None else self.ids.counted(self.forget, self.retain)

    def row_name(self, row: Any) -> str:
        """A row for messages: `row 17`, or `row 17 (id 'p17')` if rows have ids."""
        known = "" if self.ids is None else f" (id {self.ids.text(int(row))!r})"
        return f"row {int(row)}{known}"

    def _people(self, ids: Any) -> People:
        if self.ids is None:
            raise BadInput(
                f"{len(ids)} record ids, but the problem has none",
                expected="row numbers, or a Problem with ids=",
                fix="pass Problem(..., ids=[...]) with the id of each train row",
            )
        return self.ids
