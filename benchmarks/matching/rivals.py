"""What benchmarks of dmm against every other method share: which trial was chosen, and who is near.

Within a budget a method's trial is the one that the second group of retrained models likes best.
Among rivals the one that the judging models like best is taken, which favours them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from benchmarks import grid, result
from benchmarks.grid import Content, labels
from expunge.methods import METHODS
from expunge.problem import Problem

ALONE, COMBINED = "dmm, linearised", "dmm, combined"  # by the attribution of dmm


class Chosen(NamedTuple):
    """A trial that tuning chose, as the judging models see it."""

    label: str
    cost: float  # in retrainings
    klom: float
    se: float
    settings: dict[str, Any]

    @property
    def scored(self) -> result.Scored:
        """KLoM with its standard error."""
        return self.klom, self.se


@dataclass(frozen=True)
class Budgets:
    """Claims that dmm is nearer to retraining than methods that cost as much; in retrainings."""

    own: float  # budget of dmm
    rivals: tuple[float, ...]
    limits: tuple[float, ...]  # of dmm's KLoM
    above: bool = False  # limits are of KLoM less that of retraining
    random: bool = False  # of random rows, too, the attribution's cost is claimed
    report: Callable[[Any, Content, Problem, list[str]], None] | None = None

    def __call__(self, flags: Any, content: Content) -> tuple[list[dict], Content]:
        """The claims, and every number behind them."""
        names, base = grid.names(content), grid.trained(content, flags.quick)
        noise = {name: grid.klom(content, name, "retrain", None) for name in names}
        own = [label for label in labels(content) if label.startswith("dmm")]
        claims = []
        for name in names:
            ours = chosen(content, name, own, self.own)
            claims.append(cheap(content, name, own, self.own))
            for budget in self.rivals:
                best = best_rival(content, name, budget)
                claims.append(less(f"within {budget:g}", ours, best, name))
            for label in own:
                if label in (ALONE, COMBINED):
                    claims += self.near(content, name, label, noise[name])
            if self.random or "random" not in name:
                claims.append(alone(content, name, ALONE, self.own, base))
        if self.report and not flags.plot:
            rival = best_rival(content, names[-1], max(self.rivals))
            others = [rival.label] if rival and rival.label != "original" else []
            self.report(flags, content, base, [*own, *others])
        klom = table(content, names, self.rivals)
        facts = {"klom_cost_and_se": klom, "klom_of_retraining": noise, "quick": flags.quick}
        return claims, facts

    def near(
        self, content: Content, name: str, label: str, noise: result.Scored | None
    ) -> list[dict]:
        """How near retraining is dmm with one attribution?"""
        found = chosen(content, name, [label], self.own)
        ours = found and found.scored
        if self.above:
            what = f"KLoM of {label} less that of retraining, {name}"
            return [result.difference(what, ours, noise, limit) for limit in self.limits]
        value, se = ours or (None, None)
        what = f"KLoM of {label}, {name}"
        return [result.near(what, value, limit, se) for limit in self.limits]


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
    """How one trial scores with the judging models."""
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
    before = grid.attribution(content, name, base, label, ours.settings)["relative_to_retrain"]
    whole = before + ours.cost
    what = f"within {whole:.3f}, its attribution's {before:.3f} included"
    return less(what, ours, best_rival(content, name, whole), name)


def less(what: str, ours: Chosen | None, theirs: Chosen | None, name: str) -> dict:
    """The claim that ours is no worse."""
    if ours is None or theirs is None:
        return result.claim(f"KLoM of dmm less the best other's {what}, {name}", None, 0.0)
    said = f"KLoM of {ours.label} at {ours.cost:.3f} less that of {theirs.label}, the best other's"
    return result.difference(f"{said} {what}, {name}", ours.scored, theirs.scored)
