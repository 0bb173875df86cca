"""A metric as an object: its name and unit, what it needs, how it is measured, and its null.

Everything is measured on evidence alone, by the same code for an audit and for a benchmark.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.views import Slice

Score = dict[str, Any]
Measure = Callable[[Outputs, Evidence], Score]

MOST = 20  # models of a file that an audit attacks one by one


class Need(NamedTuple):
    """Something that evidence must hold: a word for it, and the reason why a file lacks it."""

    word: str
    lacking: Callable[[Outputs, Evidence], str]  # "" where nothing is lacking


@dataclass(frozen=True)
class Metric:
    """A number, or a table of numbers by group of rows, that models get.

    Attributes:
        name: its key in audit.json, and its column in a benchmark.
        unit: of its numbers.
        direction: which values are better; "nearer" is nearer to the null.
        needs: what evidence must hold.
        measure: the score of a file's models: {"values": one number a model}, {"value": one number
            of all, and "se" or "low" and "high"}, or a table by group of rows.
        null: the score of perfect forgetting, by models that never saw the rows.
        definition: in one sentence.
        most: models that an audit measures at most, where the cost is one of each model.
    """

    name: str
    unit: str
    direction: Literal["lower", "higher", "nearer"]
    needs: tuple[Need, ...]
    measure: Measure
    null: Callable[[Evidence], Score]
    definition: str
    most: int | None = None

    def fits(self, evidence: Evidence) -> bool:
        """Whether it is defined for the kind of task, whatever else the evidence lacks."""
        kinds = [need for need in self.needs if need in (CLASSES, VALUES)]
        return not any(need.lacking(evidence.original, evidence) for need in kinds)

    def lacking(self, file: Outputs, evidence: Evidence) -> str:
        """Why the models of a file cannot be measured; "" if they can."""
        reasons = (need.lacking(file, evidence) for need in self.needs)
        return next(filter(None, reasons), "")


def first(file: Outputs, most: int | None) -> Outputs:
    """The first models of a file, at most so many; all for None."""
    if most is None:
        return file
    return {name: Slice(table, range(min(len(table), most))) for name, table in file.items()}


def of_oracles(measure: Measure, most: int | None = None) -> Callable[[Evidence], Score]:
    """The null of a metric of single models: the score of the oracles, at most so many."""
    return lambda evidence: measure(first(evidence.oracle, most), evidence)


def of_second(measure: Measure) -> Callable[[Evidence], Score]:
    """The null of a metric against the oracles: the score of the second group of oracles."""
    return lambda evidence: measure(evidence.second, evidence)


def by_model(one: Callable[[int], float], file: Outputs) -> Score:
    """The score of a number of each model, given its place in the file."""
    return {"values": [one(k) for k in range(len(file["forget"]))]}


def summarised(score: Score) -> Score:
    """A score with its spread, as audit.json has it: value, sd over models, se, interval, models.

    Numbers of models that have none, as a time that was never reached, are left out and counted.
    """
    if "values" not in score:
        value, se = score["value"], score.get("se")
        ends = score.get("interval") or [score.get("low"), score.get("high")]
        if value is not None and se is not None:
            ends = [value - 2 * se, value + 2 * se]
        named = {k: v for k, v in score.items() if k not in ("low", "high")}
        return {**named, "interval": None if None in ends else ends}
    known = torch.tensor([v for v in score["values"] if v is not None], dtype=torch.float64)
    count, absent = len(known), len(score["values"]) - len(known)
    value = float(known.mean()) if count and not absent else None
    sd = float(known.std()) if count > 1 and not absent else None
    se = None if sd is None else sd / count**0.5
    return {
        "value": value,
        "sd": sd,
        "se": se,
        "interval": None if value is None or se is None else [value - 2 * se, value + 2 * se],
        "models": len(score["values"]),
        **({"never": absent} if absent else {}),
    }


# ---- what evidence may lack


def _kind(kind: str, plural: str) -> Need:
    def lacking(_: Outputs, evidence: Evidence) -> str:
        own = evidence.kind
        return "" if own == kind else f"it is of {plural}; the task's kind is {own!r}"

    return Need(kind, lacking)


def _logits(file: Outputs, evidence: Evidence) -> str:
    files = file, evidence.oracle
    held = all(len(one[group].shape) == 3 for one in files for group in GROUPS)
    return "" if held else "it needs the outputs of all groups; the evidence holds margins"


def models(count: int) -> Need:
    """At least so many models in the file and among the oracles."""

    def lacking(file: Outputs, evidence: Evidence) -> str:
        there = min(len(file["forget"]), len(evidence.oracle["forget"]))
        return "" if there >= count else f"it needs {count} models on each side, there are {there}"

    return Need(f"{count} models", lacking)


def oracles(count: int) -> Need:
    """At least so many oracles."""

    def lacking(_: Outputs, evidence: Evidence) -> str:
        there = len(evidence.oracle["forget"])
        return "" if there >= count else f"it needs at least {count} oracles; there are {there}"

    return Need(f"{count} oracles", lacking)


def _second(_: Outputs, evidence: Evidence) -> str:
    there = evidence.null is not None
    return "" if there else "it needs a second group of oracles, for its null"


def _untrained(file: Outputs, evidence: Evidence) -> str:
    blank = evidence.untrained
    if blank is None:
        return "it needs the outputs of an untrained model; the evidence has none"
    same = blank.shape[1:] == file["forget"].shape[1:]
    return "" if same else "an untrained model has other classes than these"


def _relearning(file: Outputs, evidence: Evidence) -> str:
    held = "relearning" in file and "relearning" in evidence.original
    return "" if held else "the relearning probe was not run, or not on these models"


MARGINS = Need("margins", lambda *_: "")  # all evidence has them
CLASSES = _kind("classification", "classifications")
VALUES = _kind("regression", "regressions")
LOGITS = Need("logits", _logits)
NULL = Need("null", _second)
UNTRAINED = Need("untrained", _untrained)
RELEARNING = Need("relearning", _relearning)
