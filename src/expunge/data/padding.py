"""Padding: rows of unequal length as one batch, filled up to the longest with a mask that says so.

A collate for `DatasetData`. What a row's padding is depends on its neighbours, so it must be
invisible: hashes read each row by itself, and a request begins by looking whether the model's
answers depend on it (`api/require_fit.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from expunge.errors import BadInput

TOKENS, MASK = "input_ids", "attention_mask"  # as tokenizers and models of transformers call them
LABELS = ("label", "labels")
SIDES = ("right", "left")


class _Row(NamedTuple):
    number: int
    columns: dict[str, Tensor]  # (length,) each
    label: Tensor


@dataclass(frozen=True)
class Padding:
    """Makes (inputs, targets) of rows of tokens, as `DatasetData(rows, collate=Padding(pad))`.

    A row is a pair (mapping of sequences, label), or one mapping that has "label" or "labels"
    beside its sequences, as data sets of Hugging Face give it. Every sequence of a row is as long
    as the row; the inputs are a mapping by name, (B, longest) each. Where rows have no
    "attention_mask", one is added: 1 at tokens, 0 at padding.

    Args:
        pad: what fills "input_ids" up: the tokenizer's `pad_token_id`.
        side: where it is put, "right" or "left".
        longest: rows with more tokens are refused, not cut; None: any length.
        values: what fills other columns, by name; 0 where none is named.

    Raises:
        BadInput: no padding token or side; for a batch, rows that differ in their columns, have no
            label, an empty sequence, sequences of unequal length, or no numbers.
    """

    pad: int
    side: str = "right"
    longest: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.pad, int) or isinstance(self.pad, bool) or self.side not in SIDES:
            raise BadInput(
                f"Padding with pad={self.pad!r} and side={self.side!r}",
                expected="the number of the padding token, and right or left",
                fix="pass tokenizer.pad_token_id; where it is None, set tokenizer.pad_token first",
            )
        if MASK in self.values:
            raise BadInput(
                f"values with {MASK}={self.values[MASK]!r}",
                expected="a filler for other columns: the mask is 0 where padding is",
                fix="leave it out",
            )

    def __call__(self, items: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor]:
        """The batch of these rows, which errors number from 0."""
        return self.join(items, range(len(items)))

    def join(
        self, items: Sequence[Any], numbers: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The batch of these rows; errors name them by their numbers.

        Args:
            items: the rows.
            numbers: theirs.

        Returns:
            Inputs by name, (B, longest of the batch); targets, (B,).
        """
        rows = [self._row(item, number) for item, number in zip(items, numbers, strict=True)]
        for row in rows[1:]:
            _require_alike(rows[0], row)
        longest = max(len(next(iter(row.columns.values()))) for row in rows)
        inputs = {
            name: torch.stack([self._filled(name, row.columns[name], longest) for row in rows])
            for name in rows[0].columns
        }
        return inputs, torch.stack([row.label for row in rows])

    def _filled(self, name: str, sequence: Tensor, length: int) -> Tensor:
        missing = length - len(sequence)
        value = self.values.get(name, self.pad if name == TOKENS else 0)
        if not sequence.is_floating_point() and int(value) != value:
            raise BadInput(
                f"'{name}' of {sequence.dtype} filled with {value}",
                expected="a whole number",
                fix="correct `values`, or give the column as floating point numbers",
            )
        return F.pad(sequence, (0, missing) if self.side == "right" else (missing, 0), value=value)

    def _row(self, item: Any, number: int) -> _Row:
        columns, label = _parted(item, number)
        read = {name: _sequence(name, value, number) for name, value in columns.items()}
        if not read.keys() & {TOKENS, *self.values}:
            raise BadInput(
                f"row {number} has the columns {_listed(read)}",
                expected=f"tokens under the name {TOKENS}",
                fix="rename the column, or say what fills it: Padding(pad, values={name: pad})",
            )
        lengths = {name: len(sequence) for name, sequence in read.items()}
        length = max(lengths.values())
        if len({*lengths.values()}) > 1 or not length:
            told = ", ".join(f"{name}: {size}" for name, size in lengths.items())
            raise BadInput(
                f"row {number} has sequences of length {told}",
                expected="at least one token, and every sequence of a row as long as its tokens",
                fix="drop columns that do not belong to tokens, and rows without any",
            )
        if self.longest is not None and length > self.longest:
            raise BadInput(
                f"row {number} has {length} tokens",
                expected=f"at most {self.longest}",
                fix="cut rows where they are tokenised: truncation=True, max_length=...",
            )
        if MASK not in read:
            read[MASK] = torch.ones(length, dtype=torch.int64)
        return _Row(number, read, _label(label, number))


def _parted(item: Any, number: int) -> tuple[Mapping[str, Any], Any]:
    """The sequences of a row, and its label."""
    if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Mapping):
        return item[0], item[1]
    if not isinstance(item, Mapping):
        raise BadInput(
            f"row {number} is a {type(item).__name__}",
            expected=f'a mapping such as {{"{TOKENS}": [...], "label": 1}}, or (mapping, label)',
            fix="let the data set return one of these",
        )
    labels = [name for name in LABELS if name in item]
    if len(labels) != 1:
        raise BadInput(
            f"row {number} has {'both ' + ' and '.join(labels) if labels else 'no label'}: "
            f"its columns are {_listed(item)}",
            expected="one of label, labels",
            fix="name the column of class numbers so, or return pairs (mapping, label)",
        )
    return {name: value for name, value in item.items() if name not in LABELS}, item[labels[0]]


def _sequence(name: str, value: Any, number: int) -> Tensor:
    found = _numbers(value)
    if found is None or found.ndim != 1:
        what = type(value).__name__ if found is None else f"numbers of shape {tuple(found.shape)}"
        raise BadInput(
            f"'{name}' of row {number} is {what}",
            expected="a sequence of numbers, one a token",
            fix="keep only what the model reads (remove_columns), tokenised row by row into lists",
        )
    return found


def _label(value: Any, number: int) -> Tensor:
    found = _numbers(value)
    if found is None or found.ndim:
        raise BadInput(
            f"the label of row {number} is {value!r:.60}",
            expected="one number",
            fix="map labels to class numbers 0, 1, ...",
        )
    return found


def _numbers(value: Any) -> Tensor | None:
    try:
        return torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        return None


def _require_alike(first: _Row, row: _Row) -> None:
    if row.columns.keys() != first.columns.keys():
        raise BadInput(
            f"row {row.number} has the columns {_listed(row.columns)}, row {first.number} has "
            f"{_listed(first.columns)} (the mask may have been added)",
            expected="the same columns in every row",
            fix="tokenise all rows in the same way",
        )
    for name, sequence in {**row.columns, "label": row.label}.items():
        other = first.columns.get(name, first.label)
        if sequence.dtype != other.dtype:
            raise BadInput(
                f"'{name}' of row {row.number} is {sequence.dtype}, of row {first.number} "
                f"{other.dtype}",
                expected="the same type in every row",
                fix="convert all rows to one type",
            )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))
