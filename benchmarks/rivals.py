"""What benchmarks of dmm against every other method share: which trial was chosen, and who is near.

Within a budget a method's trial is the one that the second group of retrained models likes best.
Among rivals the one that the judging models like best is taken, which favours them.
"""

from math import hypot, inf
from typing import Any, NamedTuple

import grid
import result

from expunge.bench.content import Content
from expunge.methods import METHODS
from expunge.problem import Problem


class Chosen(NamedTuple):
    """A trial that tuning chose, as the judging models see it."""

    label: str
    cost: float  # in retrainings
    klom: float
    se: float
    settings: dict[str, Any]


def labels(content: Content) -> list[str]:
    """The methods of this run."""
    return [entry["label"] for entry in content["config"]["candidates"]]


def rivals(content: Content) -> list[str]:
    """Methods that need neither attribution nor retrained models; doing nothing is one."""
    kinds = {entry["label"]: entry["name"] for entry in content["config"]["candidates"]}
    return ["original", *(label for label in kinds if not METHODS[kinds[label]].needs)]


def chosen(content: Content, name: str, among: list[str], budget: float) -> Chosen | None:
    """The trial of these methods that tuning likes best within a budget; None if there is none."""
    found = []
    for choice in content["choices"]:
        if choice["forget_set"] == name and choice["method"] in among:
            for trial in choice["trials"]:
                score = trial["scores"].get("oracle")  # none of a trial that failed
                if score is not None and trial["cost"]["relative_to_retrain"] <= budget:
                    found.append((score, choice["method"], trial["settings"]))
    if "original" in among:
        return judged(content, name, "original", {})
    best = min(found, key=lambda trial: trial[0], default=None)
    return None if best is None else judged(content, name, *best[1:])


def table(content: Content, names: list[str], budgets: tuple[float, ...]) -> dict[str, Any]:
    """By forget set, method and budget: label, cost, KLoM and its standard error of the trial."""
    found: dict[str, Any] = {}
    for name in names:
        found[name] = {label: {} for label in [*labels(content), "original"]}
        for label, row in found[name].items():
            for budget in budgets:
                one = chosen(content, name, [label], budget)
                row[str(budget)] = None if one is None else one[:4]
    return found


def judged(content: Content, name: str, label: str, settings: dict) -> Chosen | None:
    """What the judging models say of one trial."""
    for cell in content["cells"]:
        if (cell["forget_set"], cell["method"], cell["settings"]) == (name, label, settings):
            score = cell["scores"].get("KLoM")
            if score and not score["hidden"]:
                cost = cell["cost"]["relative_to_retrain"]
                return Chosen(label, cost, score["value"], score["se"]["mean"], settings)
    return None


def best_rival(content: Content, name: str, budget: float) -> Chosen | None:
    """The method that the judging models like best, each by the trial that tuning chose."""
    found = [chosen(content, name, [label], budget) for label in rivals(content)]
    return min((one for one in found if one), key=lambda one: one.klom, default=None)


def cheap(content: Content, name: str, own: list[str], budget: float) -> dict:
    """The claim that what tuning likes best of dmm, whatever it costs, is within a budget."""
    best = chosen(content, name, own, inf)
    return result.claim(f"cost of dmm, in retrainings, {name}", best and best.cost, budget)


def alone(content: Content, name: str, label: str, budget: float, base: Problem) -> dict:
    """The claim that dmm, its own attribution in the cost, is nearer than what costs as much.

    Args:
        content: of the run.
        name: of the forget set.
        label: of dmm with the attribution that reads the model alone.
        budget: of dmm itself, in retrainings.
        base: the problem that was run.
    """
    ours = chosen(content, name, [label], budget)
    if ours is None:
        return less("within its own cost", None, None, name)
    before = grid.attribution(content, name, base, ours.settings)["relative_to_retrain"]
    whole = before + ours.cost
    what = f"within {whole:.3f}, its attribution's {before:.3f} included"
    return less(what, ours, best_rival(content, name, whole), name)


def less(what: str, ours: Chosen | None, theirs: Chosen | None, name: str) -> dict:
    """The claim that ours is no worse."""
    if ours is None or theirs is None:
        return result.claim(f"KLoM of dmm less the best other's {what}, {name}", None, 0.0)
    value, se = ours.klom - theirs.klom, hypot(ours.se, theirs.se)
    said = f"KLoM of {ours.label} at {ours.cost:.3f} less that of {theirs.label}, the best other's"
    return result.claim(f"{said} {what}, {name}", value, 0.0, [value - 2 * se, value + 2 * se])
