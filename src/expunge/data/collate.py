"""How rows of a user's data set become one batch: read by number, joined, refused by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import default_collate

from expunge.data.padding import Padding
from expunge.errors import BadInput, first_line

Collate = Callable[[list], Any]


@dataclass(frozen=True)
class Numbered:
    """A data set as a loader sees it: some rows at once, together with their numbers."""

    source: Any

    def __getitems__(self, numbers: list[int]) -> tuple[list[int], list]:
        many = getattr(self.source, "__getitems__", None)  # a data set may read many faster
        return numbers, many(numbers) if many else [self.source[i] for i in numbers]


@dataclass(frozen=True)
class Joined:
    """A collate of numbered rows, which returns a refusal.

    A worker process cannot raise it: torch builds errors of other processes anew from a text.
    """

    collate: Collate

    def __call__(self, read: Any) -> "tuple[Any, Any] | BadInput":
        """The batch, or why there is none."""
        numbers, items = read
        try:
            return joined(self.collate, numbers, items)
        except BadInput as error:
            return error


def joined(collate: Collate, numbers: Sequence[int], items: list) -> tuple[Any, Any]:
    """The batch (inputs, targets) of these items.

    Raises:
        BadInput: items that cannot be joined as they are; a batch that is no pair of tensors.
    """
    if isinstance(collate, Padding):
        return collate.join(items, numbers)
    content = _by_default(numbers, items) if collate is default_collate else collate(items)
    inputs, targets = _pair(content)
    _require_tensors((inputs, targets))
    return inputs, targets


def _by_default(numbers: Sequence[int], items: list) -> Any:
    inputs = items[0][0] if isinstance(items[0], tuple | list) and items[0] else items[0]
    if isinstance(inputs, Mapping) and any(isinstance(value, list) for value in inputs.values()):
        raise _unjoined(numbers, "they hold lists, as tokenizers give them")
    try:
        return default_collate(items)
    except (RuntimeError, KeyError, TypeError) as error:
        raise _unjoined(numbers, first_line(error)) from error


def _unjoined(numbers: Sequence[int], why: str) -> BadInput:
    told = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
    return BadInput(
        f"rows {told} cannot be joined into one batch ({why})",
        expected="numbers of the same shape and columns in each, or a collate that makes them so",
        fix="leave out what is no number; for rows of tokens pass "
        "DatasetData(rows, collate=Padding(pad_token_id))",
    )


def _pair(content: Any) -> tuple[Any, Any]:
    if isinstance(content, (tuple, list)) and len(content) == 2:
        return content[0], content[1]
    raise BadInput(
        f"an item of the data set is a {type(content).__name__}"
        + (f" of {len(content)}" if isinstance(content, (tuple, list)) else ""),
        expected="a pair (input, target)",
        fix="wrap the data set, or pass collate=, so that a batch is (inputs, targets); "
        "Padding(pad_token_id) does so for rows of tokens",
    )


def _require_tensors(content: Any) -> None:
    for leaf in tree_leaves(content):
        if not isinstance(leaf, Tensor):
            raise BadInput(
                f"an item of the data set holds a {type(leaf).__name__}",
                expected="numbers, arrays or tensors",
                fix="turn text into numbers in the data set, or pass collate=",
            )
