"""Splits with as many rows of each class, drawn once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.errors import BadInput
from expunge.rng import Draws


def balanced(
    targets: Tensor,
    classes: int,
    front: int,
    back: int,
    draws: Draws,
    first: Sequence[int] | Tensor = (),
) -> tuple[Tensor, Tensor]:
    """Two lists of rows without a row in common, each with as many rows of every class.

    A class's rows are put in a random order; the first list takes from its front and the second
    from its back. So a smaller list holds only rows of a larger one of the same draws.

    Args:
        targets: class numbers of all rows, int64, (n,).
        classes: how many classes there are.
        front: rows of the first list, a multiple of `classes`.
        back: rows of the second list, likewise.
        draws: draws the order.
        first: rows that come before all others of their class, so that they are in the first
            list if it is long enough.

    Returns:
        Row numbers, int64, sorted.

    Raises:
        BadInput: a class has too few rows; a row of `first` is out of range.
    """
    first = torch.as_tensor(first, dtype=torch.int64)
    outside = first[(first < 0) | (first >= len(targets))]
    if len(outside):
        raise BadInput(
            f"row {outside[0].item()} is out of range ({len(outside)} such)",
            expected=f"row numbers from 0 to {len(targets) - 1}",
            fix="check which data the numbers belong to",
        )
    ahead, behind = front // classes, back // classes
    fronts, backs = [], []
    for label in range(classes):
        rows = (targets == label).nonzero().squeeze(-1)
        if len(rows) < ahead + behind:
            raise BadInput(
                f"class {label} has {len(rows)} rows",
                expected=f"at least {ahead + behind} of each class",
                fix="ask for fewer rows, or use the whole data set",
            )
        order = rows[draws.at(label).permutation(len(rows))]
        leading = torch.isin(order, first)
        order = torch.cat([order[leading], order[~leading]])
        fronts.append(order[:ahead])
        backs.append(order[len(order) - behind :])
    return torch.cat(fronts).sort().values, torch.cat(backs).sort().values


def trial_rows(rows: int | None, full: int, classes: int = 10) -> int:
    """How many train rows of so many classes: `full`, or fewer for a trial.

    Raises:
        BadInput: not a multiple of the number of classes up to `full`.
    """
    if rows is None:
        return full
    whole = isinstance(rows, int) and not isinstance(rows, bool)
    if not whole or rows % classes or not classes <= rows <= full:
        raise BadInput(
            f"{rows!r} train rows",
            expected=f"a multiple of {classes} from {classes} to {full}, as many of each class",
            fix="choose such a number",
        )
    return rows
