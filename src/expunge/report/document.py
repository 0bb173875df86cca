"""What a report reads from `audit.json`: the one place that knows the document's shape."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from expunge.errors import BadInput

SCHEMA = "expunge.audit/1"
GROUPS = ("forget", "retain", "test")
STATISTIC = {"klom": "p95", "distance": "rms"}  # which summary of a group a verdict rests on
VERDICTS = ("supported", "not supported", "inconclusive", "no measurable trace", "refused")

Document = Mapping[str, Any]
Entry = Mapping[str, Any]  # `original`, `null` or one of `methods`


@dataclass(frozen=True)
class Reading:
    """A number with its spread.

    Attributes:
        value: in the metric's unit (KLoM: nats; distance: standard deviations of the oracles).
        low: lower end of the interval, or None if no spread is known.
        high: upper end. A method's interval is two standard errors each way; the null's is the
            range over random splits of the oracles.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def half(self) -> float | None:
        """Half the width of the interval: two standard errors for a method."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def check(document: Document) -> None:
    """Refuse what is not an audit of at least one method.

    Raises:
        BadInput: another schema, no methods, or a verdict this version does not know.
    """
    schema = document.get("schema")
    if schema != SCHEMA:
        raise BadInput(
            f"the document's schema is {schema!r}",
            expected=repr(SCHEMA),
            fix="make the report with the version of expunge that wrote the audit",
        )
    if not document.get("methods"):
        raise BadInput(
            "the audit names no method",
            expected="at least one entry under `methods`",
            fix="audit at least one unlearned model",
        )
    for name, entry in document["methods"].items():
        if entry.get("verdict") not in VERDICTS:
            raise BadInput(
                f"the verdict on {name!r} is {entry.get('verdict')!r}",
                expected=f"one of {', '.join(VERDICTS)}",
                fix="make the report with the version of expunge that wrote the audit",
            )


def metric(document: Document) -> str | None:
    """The metric that tables and figures show first: KLoM where a verdict rests on it."""
    used = {entry.get("verdict_metric") for entry in document["methods"].values()}
    return next((name for name in measured(document) if name in used), None)


def measured(document: Document) -> list[str]:
    """The metrics of which both the null and some method have numbers."""
    entries = document["methods"].values()
    return [
        name
        for name in STATISTIC
        if _groups(document.get("null"), name) and any(_groups(entry, name) for entry in entries)
    ]


def reading(entry: Entry | None, name: str | None, group: str) -> Reading | None:
    """Metric `name` of one group ("average": over the three groups), or None if not measured."""
    if name is None or entry is None:
        return None
    if group == "average":
        table = entry.get(name) or {}
        value, interval = table.get("average_p95"), table.get("average_interval")
    else:
        cell = _groups(entry, name).get(group, {})
        value, interval = cell.get(STATISTIC[name]), cell.get("interval")
        if interval is None and cell.get("se") is not None and _finite(value):
            interval = (value - 2 * cell["se"], value + 2 * cell["se"])
    if not _finite(value):
        return None
    low, high = interval if interval and all(map(_finite, interval)) else (None, None)
    return Reading(value, low, high)


def null(document: Document, entry: Entry, name: str | None, group: str) -> Reading | None:
    """The metric among oracles, with as many models on each side as `entry` was measured with."""
    return reading(entry.get("null") or document.get("null"), name, group)


def limit(document: Document, entry: Entry, name: str | None, group: str) -> float | None:
    """The null plus the tolerance delta: up to here a method counts as supported."""
    among = null(document, entry, name, group)
    tolerance = delta(document, name)
    return None if among is None or tolerance is None else among.value + tolerance


def delta(document: Document, name: str | None) -> float | None:
    """The tolerance of the verdict, in the metric's unit."""
    return ((document.get("settings") or {}).get("delta") or {}).get(name)


def outside(document: Document, entry: Entry, name: str | None) -> list[str]:
    """The groups in which the whole interval of `entry` lies above the limit."""
    found = []
    for group in GROUPS:
        level, top = reading(entry, name, group), limit(document, entry, name, group)
        if level is None or top is None:
            continue
        if (level.value if level.low is None else level.low) > top:
            found.append(group)
    return found


def verdict(entry: Entry) -> str:
    """The verdict as it may be shown, which can be weaker than the one written, never stronger.

    A method that changed nothing and gives no reason is refused; a favourable verdict whose
    metric is absent becomes "inconclusive".
    """
    written = entry["verdict"]
    unexplained = not (entry.get("reason") or "").strip()
    if written == "refused" or (entry.get("changed") == 0 and unexplained):
        return "refused"
    return written if written == "not supported" or judged(entry) else "inconclusive"


def judged(entry: Entry) -> bool:
    """Whether the metric that a verdict would rest on is there in all groups."""
    name = entry.get("verdict_metric")
    return all(reading(entry, name, group) is not None for group in GROUPS)


def withheld(entry: Entry) -> bool:
    """Whether the method's numbers must not be shown, since they could pass for success."""
    return verdict(entry) == "refused"


def models_used(document: Document, method: str) -> int | None:
    """How many models of a method its numbers rest on (KLoM: on each side)."""
    entry = document["methods"][method]
    if entry.get("verdict_metric") == "klom" and entry.get("models_used"):
        return entry["models_used"]
    return (counts(document).get("unlearned") or {}).get(method)


def counts(document: Document) -> Mapping[str, Any]:
    """Numbers of models: "original", "oracle", "null", and "unlearned" by method."""
    groups = document.get("groups")
    return (groups.get("models") or {}) if isinstance(groups, Mapping) else {}


def problem_name(document: Document) -> str:
    """What the problem is called."""
    return str(document["problem"].get("name") or "Untitled problem")


def order(document: Document) -> list[str]:
    """Names of the methods, best first by the shown metric; unmeasured, then refused, last."""
    shown = metric(document)

    def rank(method: str) -> tuple[bool, float, str]:
        entry = document["methods"][method]
        level = mean_level(entry, shown)
        return withheld(entry), math.inf if level is None else level, method

    return sorted(document["methods"], key=rank)


def mean_level(entry: Entry, name: str | None) -> float | None:
    """The metric averaged over the groups: what methods are ranked by."""
    average = reading(entry, name, "average")
    if average is not None:
        return average.value
    levels = [reading(entry, name, group) for group in GROUPS]
    values = [level.value for level in levels if level is not None]
    return sum(values) / len(values) if len(values) == len(GROUPS) else None


def share(entry: Entry) -> float | None:
    """What the method cost for this request, in retrainings (1 = one retraining)."""
    value = (entry.get("cost") or {}).get("relative_to_retrain")
    return value if _finite(value) else None


def total_share(entry: Entry) -> float | None:
    """As `share`, with what had to be made beforehand (teachers, subset models) added."""
    own = share(entry)
    if own is None:
        return None
    prepared = (entry.get("shared_cost") or {}).get("relative_to_retrain")
    return own + prepared if _finite(prepared) else own


def quality(document: Document) -> str:
    """The name of the plain quality measure: accuracy, or error (mean absolute) in regression."""
    return "error" if document["problem"].get("kind") == "regression" else "accuracy"


def level(entry: Entry | None, document: Document, group: str) -> Reading | None:
    """Accuracy (a share of 1) or mean absolute error of one group, with its spread over models."""
    table = (entry or {}).get(quality(document)) or {}
    value, sd = table.get(group), (table.get("sd") or {}).get(group)
    if not _finite(value):
        return None
    return Reading(value, value - sd, value + sd) if _finite(sd) else Reading(value)


def _groups(entry: Entry | None, name: str) -> dict[str, Mapping[str, Any]]:
    table = (entry or {}).get(name) or {}
    return {group: table[group] for group in GROUPS if isinstance(table.get(group), Mapping)}


def _finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def claim_detail(entry: Mapping[str, Any]) -> str:
    """What a method's claim rests on, such as "eps: 1; delta: 1e-05"; a note stands alone."""
    facts = entry.get("claim_detail") or {}
    return "; ".join(
        str(value) if name == "note" else f"{name}: {value}" for name, value in facts.items()
    )
