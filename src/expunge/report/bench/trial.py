"""One trial of a method: what it cost, and how far its models are from retrained ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from expunge.errors import BadInput
from expunge.report.document import GROUPS

AVERAGE = "average"


@dataclass(frozen=True)
class Point:
    """A method with one budget.

    Attributes:
        method: its name; trials of one method make one curve.
        cost: compute in retrainings; 0 for next to nothing.
        values: 95th percentile of KLoM in nats, by group: forget, retain, test, and average (the
            mean of the three, computed where it is not given). What was not measured is left out.
        se: standard errors of some of the values, or None.
    """

    method: str
    cost: float
    values: Mapping[str, float]
    se: Mapping[str, float] | None = None


def value(values: Mapping[str, float], group: str) -> float | None:
    """The value of a group, or the mean of the three groups; None if not measured."""
    if group != AVERAGE or AVERAGE in values:
        return values.get(group)
    if any(name not in values for name in GROUPS):
        return None
    return sum(values[name] for name in GROUPS) / len(GROUPS)


def check(points: Sequence[Point]) -> None:
    """Refuse trials that cannot be drawn.

    Raises:
        BadInput: no trial, an unknown group, or a number that is below 0 or not finite.
    """
    if not points:
        raise BadInput(
            "no trial of any method",
            expected="at least one point",
            fix="run the benchmark first, or leave the figure out",
        )
    for point in points:
        errors = point.se or {}
        numbers = [point.cost, *point.values.values(), *errors.values()]
        unknown = {*point.values, *errors} - {*GROUPS, AVERAGE}
        if unknown or not all(isfinite(number) and number >= 0 for number in numbers):
            raise BadInput(
                f"{point}",
                expected=f"finite numbers of at least 0, by {', '.join((*GROUPS, AVERAGE))}",
                fix="leave out what was not measured",
            )
