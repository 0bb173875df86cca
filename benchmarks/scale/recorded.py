"""The cost model against what earlier runs of this package measured: predicted over actual.

Within one run seconds are predicted from that run's own retrainings, by row units alone. From
`ensemble_speed.json`, which times trainings on two cores, the retrainings of other runs are.
`fashion_table.json` is left out: its retrainings were timed while others worked on the machine
(223, 688 and 291 microseconds a row unit in one run).
"""

import json
from collections.abc import Iterator
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.scale.model import counted, trainings
from benchmarks.speed.ensemble import CASES, CORES
from expunge.errors import BadInput
from expunge.problem import Problem, Recipe
from expunge.zoo.problems import problem

RUNS = ("dmm_digits", "dmm_fashion", "imdb", "matching", "pareto_digits", "pareto_fashion")
CASE_OF = {"digits": "digits", "fashion-mlp": "fashion-mlp"}  # problems that ensemble_speed times
MATCHING = ("dmm", "oracle-matching")
ROW_BY_ROW = ("fisher", "ssd", "influence")  # of which gradients of single rows are taken
FEW = 1000  # row units below which the time is that of a few steps, whatever they read


class Check(NamedTuple):
    """One prediction."""

    kind: str
    what: str
    predicted: float  # seconds, or bytes
    actual: float

    @property
    def ratio(self) -> float:
        """Above 1: it was faster, or smaller, than predicted."""
        return self.predicted / self.actual


def checks(folder: Path) -> list[Check]:
    """All that can be checked with the result files in a folder."""
    speed = json.loads((folder / "ensemble_speed.json").read_text())["cases"]
    unit = {name: seconds_a_unit(name, one) for name, one in speed.items() if known(name)}
    found = []
    for name in RUNS:
        content = json.loads((folder / name / "bench.json").read_text())
        found += [*within(name, content), *retrained(name, content, unit)]
    return [*found, demo(json.loads((folder / "demo_audit.json").read_text()))]


def known(name: str) -> Problem | None:
    """The problem of a case of ensemble_speed; None where its data is not at hand."""
    try:
        return problem(CASES[name].name)
    except BadInput:
        return None


def seconds_a_unit(name: str, one: dict[str, Any]) -> float:
    """Seconds of one core for a row unit of training, by ensemble_speed."""
    base = problem(CASES[name].name)
    assert isinstance(base.recipe, Recipe)
    units = 3 * base.recipe.rows_read(len(base.train)) / base.recipe.epochs * CASES[name].epochs
    return CORES * fmean(one["seconds a model"]["ours"]) / units


def utilisation(one: dict[str, Any]) -> float:
    """The share of the measured matrix-multiply rate that trainings reach, all cores."""
    return one["flops a model"] / fmean(one["seconds a model"]["ours"]) / one["peak flops a second"]


def retrained(name: str, content: dict[str, Any], unit: dict[str, float]) -> Iterator[Check]:
    """The retrainings of a run, predicted from ensemble_speed."""
    case = CASE_OF.get(content["config"]["problem"])
    costs = [cell["cost"] for cell in content["cells"] if cell["method"] == "retrain"]
    if case in unit and costs:
        predicted = fmean(cost["row_units"] for cost in costs) * unit[case]
        yield Check(
            "retraining, from ensemble_speed", name, predicted, fmean(c["seconds"] for c in costs)
        )


def within(name: str, content: dict[str, Any]) -> Iterator[Check]:
    """The methods of a run, predicted from its own retrainings: one check a method."""
    config = content["config"]
    entries = config.get("candidates") or config["contestants"]  # of an earlier version
    names = {c["label"]: (c["name"], c["fixed"]) for c in entries}
    cells: dict[str, list[dict]] = {}
    for cell in content["cells"]:
        cells.setdefault(cell["method"], []).append(cell)
    if "retrain" not in cells:
        return
    rate = exp(fmean(log(_rate(cell)) for cell in cells["retrain"]))
    for label, own in cells.items():
        read = [cell for cell in own if cell["cost"]["row_units"] >= FEW]
        if label not in names or label == "retrain" or not read:
            continue
        kind = kind_of(names[label][0], {**names[label][1], **read[0]["settings"]})
        predicted = exp(fmean(log(rate * cell["cost"]["row_units"]) for cell in read))
        actual = exp(fmean(log(cell["cost"]["seconds"]) for cell in read))
        yield Check(kind, f"{name}: {label}", predicted, actual)


def kind_of(method: str, settings: dict[str, Any]) -> str:
    """What a method spends its time on."""
    if settings.get("curvature") == "gauss-newton":
        return "curvature by products"
    if method in ROW_BY_ROW:
        return "gradients row by row"
    return "matching" if method in MATCHING else "passes over rows"


def demo(audit: dict[str, Any]) -> Check:
    """The whole of the demo, with its report: 1,500 trainings, eight methods on 100 models."""
    methods, members = audit["methods"], audit["problem"]["members"]
    counts = {"original": members, "oracle": members, "null": members, "teacher": members}
    shared = max((m["shared_cost"] or {}).get("what", "") for m in methods.values())
    halves = int(shared.split()[0].replace(",", "")) if "half-data" in shared else 1000
    retrain = methods["retrain"]["cost"]
    asked = counted(audit["problem"]["rows"], audit["problem"]["forget_rows"], 20, 64)
    units = trainings(asked, {**counts, "subset": halves})
    units += members * sum(m["cost"]["row_units"] for m in methods.values())
    predicted = units * retrain["seconds"] / retrain["row_units"] / CORES
    return Check("a whole run", "expunge demo --members 100", predicted, audit["run"]["seconds"])


def _rate(cell: dict[str, Any]) -> float:
    return cell["cost"]["seconds"] / cell["cost"]["row_units"]


def here(folder: Path) -> dict[str, dict[str, float]]:
    """What ensemble_speed measured of this machine: seconds a model, and its share of the rate."""
    speed = json.loads((folder / "ensemble_speed.json").read_text())["cases"]
    return {
        name: {
            "seconds a model": fmean(one["seconds a model"]["ours"]),
            "epochs": CASES[name].epochs,
            "share of the rate": utilisation(one),
        }
        for name, one in speed.items()
    }
