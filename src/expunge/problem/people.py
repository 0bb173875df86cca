"""People: the record id of each train row; all rows of one id are one person."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from expunge.errors import BadInput

LONGEST = 512  # bytes of an id: ids lie side by side in one array of fixed width
MOST_NAMED = 5  # ids that an error names one by one


class PeopleCount(NamedTuple):
    """How many records of how many persons are to be forgotten."""

    records: int
    persons: int
    partly: int  # persons of whom other records remain in the training data


class People(Sequence[Any]):
    """The id of each row, in one array of whole numbers or of UTF-8 text.

    Ids are compared as text: 3 and "3" are one person. An object never changes, so that every
    problem derived from another shares it, with its index of rows.

    Args:
        ids: one for each row: a list, a tuple, a range, a column of numpy or pandas, a tensor.

    Raises:
        BadInput: ids of another type; an id that is missing (None, NaN, empty), too long, or no
            UTF-8 text.
    """

    def __init__(self, ids: Any) -> None:
        self.values = _column(ids, "row")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: Any) -> Any:
        held = self.values[place]
        if self.values.dtype.kind != "S":
            return held.tolist()
        return held.decode() if isinstance(held, bytes) else [one.decode() for one in held.tolist()]

    def __repr__(self) -> str:
        return f"People({len(self)} rows)"

    def __iter__(self):
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Sequence) and self[:] == list(other))

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        return {"values": self.values}  # one array; the index is made again where it is needed

    def text(self, row: int) -> str:
        """The id of one row, as text."""
        return str(self[row])

    def texts(self, rows: Tensor) -> list[str]:
        """The ids of these rows, as text."""
        return [str(known) for known in self[rows.numpy()]]

    @property
    def total(self) -> int:
        """How many persons there are."""
        return len(self._index.names)

    @cached_property
    def person(self) -> np.ndarray:
        """(n,) int64: the number of each row's person; persons are numbered by their sorted ids."""
        order, starts, names = self._index
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.repeat(np.arange(len(names)), np.diff(starts))
        return numbers

    def persons_of(self, ids: Any) -> np.ndarray:
        """The person numbers of these ids, int64, in their order.

        Raises:
            BadInput: ids that no row has, or that are given more than once; all are counted and
                the first five named.
        """
        asked = _texts(_column(ids, "place"))
        numbers = self._numbers(asked)
        unknown = [text for text, number in zip(asked, numbers, strict=True) if number < 0]
        if unknown:
            raise BadInput(
                f"{_ids(unknown, 'is', 'are')} unknown ({len(unknown)} of {len(asked)})",
                expected=f"ids such as {self.text(0)!r}",
                fix="check the spelling, or whether the record was in the training data at all",
            )
        distinct, first, counts = np.unique(numbers, return_index=True, return_counts=True)
        if len(distinct) < len(numbers):
            twice = [asked[place] for place in sorted(first[counts > 1])]
            raise BadInput(
                f"{_ids(twice, 'is', 'are')} given more than once ({len(twice)} such)",
                expected="each id once",
                fix="drop the repeats, after checking that no other person was meant",
            )
        return numbers

    def rows_of(self, persons: np.ndarray) -> Tensor:
        """All rows of these persons, int64, person after person."""
        order, starts, _ = self._index
        counts = starts[persons + 1] - starts[persons]
        shift = starts[persons] - (counts.cumsum() - counts)
        return torch.from_numpy(order[np.repeat(shift, counts) + np.arange(counts.sum())])

    def refuse_gone(self, persons: np.ndarray, present: Tensor) -> None:
        """Raise BadInput if all rows of one of these persons are already forgotten.

        Args:
            persons: as `persons_of` returns them.
            present: (n,) bool, the rows that the models were trained on.
        """
        left = self._any_of(present)[persons]
        if not left.all():
            _, _, names = self._index
            gone = _texts(names[persons[~left]])
            raise BadInput(
                f"{_ids(gone, 'was', 'were')} already forgotten ({len(gone)} of {len(persons)})",
                expected="persons of whom the model was trained on at least one row",
                fix="leave these ids out; the model's card lists what is gone",
            )

    def counted(self, forget: Tensor, retain: Tensor) -> PeopleCount:
        """How many persons rows to forget belong to, and of how many of them rows are retained."""
        persons = np.unique(self.person[forget.numpy()])
        return PeopleCount(len(forget), len(persons), int(self._any_of(retain)[persons].sum()))

    def _any_of(self, rows: Tensor) -> np.ndarray:
        """(persons,) bool: who has one of these rows."""
        found = np.zeros(self.total, dtype=bool)
        found[self.person[rows.numpy()]] = True
        return found

    @cached_property
    def _index(self) -> "_Index":
        return _indexed(self.values)

    def _numbers(self, asked: list[str]) -> np.ndarray:
        """The person number of each id, -1 where no row has it."""
        names, dtype = self._index.names, self.values.dtype
        if dtype.kind == "S":
            known = np.ones(len(asked), dtype=bool)
            keys = np.array([text.encode() for text in asked], dtype="S")
        else:
            whole = [_whole(text, np.iinfo(dtype)) for text in asked]
            known = np.array([number is not None for number in whole], dtype=bool)
            keys = np.array([number or 0 for number in whole], dtype=dtype)
        places = np.searchsorted(names, keys).clip(max=len(names) - 1)
        return np.where(known & (names[places] == keys), places, -1)


class _Index(NamedTuple):
    """Rows sorted by person, where each person begins among them, and the persons' ids."""

    order: np.ndarray
    starts: np.ndarray  # (persons + 1,)
    names: np.ndarray  # sorted


def _indexed(values: np.ndarray) -> _Index:
    order = np.argsort(values, kind="stable").astype(np.int64, copy=False)
    ordered = values[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    return _Index(order, np.append(starts, len(order)), ordered[starts])


def _column(ids: Any, place: str) -> np.ndarray:
    """Ids as one array: whole numbers as they are, all else as UTF-8 text.

    Args:
        ids: see `People`.
        place: what an id's number counts, for errors.
    """
    if isinstance(ids, Tensor):
        ids = ids.detach().cpu().numpy()
    if hasattr(ids, "__array__"):
        ids = np.asarray(ids)
        if ids.ndim == 1 and ids.dtype.kind in "iu":
            return _fixed(ids.copy())
        if ids.ndim != 1:
            raise _no_column(f"ids of shape {ids.shape}")
    elif not isinstance(ids, Sequence) or isinstance(ids, str | bytes):
        raise _no_column(f"ids of type {type(ids).__name__}")
    listed = list(ids)
    kinds = set(map(type, listed))
    if kinds == {int}:
        try:
            return _fixed(np.array(listed, dtype=np.int64))
        except OverflowError:
            pass
    if kinds == {str} and all(map(str.strip, listed)) and "\0" not in "".join(listed):
        try:  # the usual case, four times as fast as one by one
            encoded = [text.encode() for text in listed]
            if max(map(len, encoded)) <= LONGEST:
                return _fixed(np.array(encoded, "S"))
        except UnicodeEncodeError:
            pass
    return _fixed(np.array([_encoded(one, row, place) for row, one in enumerate(listed)], "S"))


def _encoded(given: Any, row: int, place: str) -> bytes:
    given = given.item() if isinstance(given, Tensor) else given
    text = given if type(given) is str else "" if _missing(given) else str(given)
    if not text or text.isspace():
        raise BadInput(
            f"{place} {row} has no id ({given!r:.40})",
            expected="an id at each place: a text or a whole number",
            fix="correct the ids, or leave them out and use row numbers",
        )
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) <= LONGEST or "\0" in text:
        raise BadInput(
            f"the id at {place} {row} is {text[:40]!r} ({len(text):,} characters)",
            expected=f"UTF-8 text of at most {LONGEST} bytes, without NUL",
            fix="use a shorter id, such as a customer number",
        )
    return encoded


def _missing(given: Any) -> bool:
    """Whether a value is None, NaN, NaT or NA, which differ from themselves or cannot tell."""
    try:
        return given is None or bool(given != given)
    except (TypeError, ValueError):
        return True


def _fixed(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


def _texts(values: np.ndarray) -> list[str]:
    listed = values.tolist()
    return [one.decode() if isinstance(one, bytes) else str(one) for one in listed]


def _whole(text: str, limits: Any) -> int | None:
    """The number that is written so, or None: "03" is another id than 3."""
    if not text.removeprefix("-").isdecimal() or len(text) > 20:
        return None
    number = int(text)
    return number if str(number) == text and limits.min <= number <= limits.max else None


def _ids(texts: list[str], one: str, many: str) -> str:
    """`record id 'a' is`, or `record ids 'a', 'b' and 3 more are`."""
    if len(texts) == 1:
        return f"record id {texts[0]!r} {one}"
    named = ", ".join(repr(text) for text in texts[:MOST_NAMED])
    more = len(texts) - MOST_NAMED
    return f"record ids {named}{f' and {more:,} more' if more > 0 else ''} {many}"


def _no_column(given: str) -> BadInput:
    return BadInput(
        given,
        expected="one id for each row, in a list or a column",
        fix="pass a list such as ['p1', 'p2']; a single id goes into a list, too",
    )
