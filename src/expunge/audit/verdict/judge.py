"""The verdict: what may be said of a method, given its numbers, their errors and the null.

In a group of rows let T be the metric, SE its jackknife error, N the median of the null and delta
the tolerance. The group is inside if T + 2 SE <= N + delta, outside if T - 2 SE > N + delta, and
otherwise undecided. A group is outside, too, if outliers hide over 5 % of its rows from KLoM (see
`klom.hidden`). Supported: all groups inside, and the original outside on the forgotten rows
(a test that even the original passes cannot tell whether anything was forgotten). Not supported:
any group outside. Otherwise inconclusive.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from expunge.audit.evidence.groups import GROUPS
from expunge.errors import BadInput, nearest

DELTA = {"klom": 1.0, "distance": 0.7}  # nats; standard deviations of the oracles
HIDDEN = (
    "some models answer so far from any retrained one that KLoM cannot tell where the others are."
)
NAME = {"klom": "KLoM", "distance": "distance"}

Word = Literal["supported", "not supported", "inconclusive", "no measurable trace", "refused"]
Place = Literal["outside", "undecided", "inside"]


class Measured(NamedTuple):
    """A metric in one group of rows: its value T, its standard error SE, the null's median N."""

    value: float
    error: float
    null: float


@dataclass(frozen=True)
class Verdict:
    """What may be said of a method.

    Attributes:
        verdict: the grade, in the words of the report.
        reasons: plain sentences, the decisive ones first.
    """

    verdict: Word
    reasons: tuple[str, ...]


def judge(
    values: Mapping[str, Measured | None],
    original_forget: Measured | None,
    metric: str | None,
    changed: float | None,
    reason: str,
    *,
    overshoot: bool = False,
    hidden: Collection[str] = (),
) -> Verdict:
    """Grade a method.

    Args:
        values: (T, SE, N) for the groups "forget", "retain" and "test"; one that is absent, None
            or holds a number that is not finite counts as not measured.
        original_forget: the same for the original model on the forgotten rows.
        metric: "klom" or "distance", or None if neither was measured.
        changed: largest absolute change of a weight; None if unknown.
        reason: why nothing changed, where `changed` is 0.
        overshoot: whether the method went past the retrained models; named among the reasons.
        hidden: groups in which outliers hide too many rows from KLoM.

    Returns:
        The verdict. Whatever is missing makes it "inconclusive", never "supported".

    Raises:
        BadInput: the metric is unknown.
    """
    if metric is not None and metric not in DELTA:
        raise BadInput(
            f"metric {metric!r}{nearest(metric, DELTA)}",
            expected=f"one of {', '.join(DELTA)}, or None",
            fix="judge by a metric that has a tolerance",
        )
    notes = _notes(changed, reason, overshoot)
    missing = _missing(values, original_forget, metric)
    unexplained = changed == 0 and not reason.strip()
    if metric is None or missing or original_forget is None:
        return Verdict("refused" if unexplained else "inconclusive", (*missing, *notes))
    original = place(original_forget, metric)
    groups = {name: Measured(*given) for name, given in values.items() if given is not None}
    places: dict[str, Place] = {
        name: "outside" if name in hidden else place(group, metric)
        for name, group in groups.items()
    }
    rank: tuple[Place, ...] = ("outside", "undecided", "inside")
    sentences = [
        f"On the {name} rows {HIDDEN}"
        if name in hidden
        else _sentence(f"On the {name} rows", groups[name], metric, at)
        for at in rank
        for name in groups
        if places[name] == at
    ]
    if original == "undecided":
        trace = _sentence("The original on the forget rows", original_forget, metric, original)
        sentences.append(f"{trace} So it is open whether these rows left a trace at all.")
    elif original == "inside":
        trace = _sentence("The original on the forget rows", original_forget, metric, original)
        sentences.append(f"{trace} By this measure these rows left no measurable trace.")
    if "outside" in places.values():
        return Verdict("not supported", (*sentences, *notes))
    if unexplained:
        return Verdict("refused", (*notes, *sentences))
    if "undecided" in places.values() or original == "undecided":
        return Verdict("inconclusive", (*sentences, *notes))
    if original != "outside":
        return Verdict("no measurable trace", (sentences[-1], *sentences[:-1], *notes))
    return Verdict("supported", (*sentences, *notes))


def place(given: Measured, metric: str) -> Place:
    """Where a value stands against the limit N + delta, two standard errors considered.

    Args:
        given: (T, SE, N).
        metric: "klom" or "distance".

    Returns:
        "outside", "undecided" or "inside".
    """
    value, error, null = given
    limit = null + DELTA[metric]
    if value - 2 * error > limit:
        return "outside"
    return "inside" if value + 2 * error <= limit else "undecided"


def _sentence(subject: str, given: Measured, metric: str, at: Place) -> str:
    value, error, null = given
    interval = f"{max(value - 2 * error, 0.0):.2f} to {value + 2 * error:.2f}"
    limit = f"{null + DELTA[metric]:.2f} (retrained models among themselves {null:.2f}, "
    limit += f"tolerance {DELTA[metric]:g})"
    end = {
        "outside": f"above the limit of {limit}",
        "undecided": f"which includes the limit of {limit}",
        "inside": f"within the limit of {limit}",
    }[at]
    return f"{subject}: {NAME[metric]} {value:.2f}, interval {interval}, {end}."


def _missing(
    values: Mapping[str, Measured | None], original: Measured | None, metric: str | None
) -> tuple[str, ...]:
    if metric is None:
        return ("Neither KLoM nor distance was measured, so there is nothing to judge by.",)
    lacking = [f"on the {name} rows" for name in GROUPS if not _known(values.get(name))]
    if not _known(original):
        lacking.append("for the original on the forget rows")
    return tuple(f"{NAME[metric]} was not measured {where}." for where in lacking)


def _known(given: Measured | None) -> bool:
    return given is not None and all(math.isfinite(number) for number in given)


def _notes(changed: float | None, reason: str, overshoot: bool) -> list[str]:
    notes = []
    if changed == 0 and reason.strip():
        notes.append(f"No weight changed: {reason.strip()}.")
    elif changed == 0:
        notes.append("No weight changed, and no reason was given for that.")
    if overshoot:
        notes.append(
            "The forget rows were pushed past where retrained models stand (over-forgetting)."
        )
    return notes
