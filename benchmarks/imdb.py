"""Forgetting film reviews: Datamodel Matching on text, against the methods that people use.

100 models of 5,000 IMDB reviews, bags of hashed words trained by plain SGD, forget 100 random
reviews and the 100 most like one review of a horror film. Three trials a method; within a budget a
method's trial is chosen by a second group of retrained models, and so is the attribution of dmm;
among the rivals the one that the judging models like best is taken, which favours them. Methods
that need retrained models (oracle-matching) are in the tables and are no rivals. Claims, of KLoM
(mean of the three 95th percentiles): dmm at no more than 0.1 of a retraining is no worse than any
rival at any budget; it is within the verdict's tolerance, 1.0, of what retrained models score; and
with the attribution that reads the model alone it beats every rival at equal total cost,
attribution included. It also writes a report of the reviews that are alike, in words: report.html,
beside the tables, which holds reviews and is not kept in the repository.

Run: EXPUNGE_DATA=... python benchmarks/imdb.py (half an hour on one core; killed, it goes on).
"""

import argparse
from dataclasses import replace
from math import hypot

import grid
import result
from rivals import alone, best_rival, cheap, chosen, labels, less, table

from expunge.api.compare import compare
from expunge.bench.content import Content
from expunge.fanout.runtime import Runtime
from expunge.forget_sets import build
from expunge.methods import Method, method
from expunge.problem import Problem
from expunge.store import Store
from expunge.zoo.imdb import texts

TOLERANCE, BUDGET, RULE = 1.0, 0.1, "oracle"
BUDGETS = (0.1, 0.25, 0.4)  # of rivals
ALONE, COMBINED = "dmm, linearised", "dmm, combined"
QUICK = {"gradient-ascent", "dmm"}


def main() -> None:
    flags = result.arguments("imdb", __doc__ or "", plots=True)
    content = grid.content_of(flags, "imdb", small, grid.shorter)
    names = [entry["name"] for entry in content["config"]["forget"]]
    base = grid.trained(content, flags.quick)
    claims = []
    for name in names:
        claims += [*front(content, name), *near(content, name)]
        claims.append(alone(content, name, ALONE, BUDGET, base))
    klom = table(content, names, BUDGETS)
    noise = {name: grid.klom(content, name, "retrain", None) for name in names}
    if not flags.plot:
        report(flags, content, base, names[-1])
    result.write(
        flags.out,
        claims,
        files=flags.out.stem,
        klom_cost_and_se=klom,
        klom_of_retraining=noise,
        quick=flags.quick,
    )


def front(content: Content, name: str) -> list[dict]:
    """What does dmm cost, and is any rival nearer, at any budget?"""
    ours = chosen(content, name, own(content), BUDGET)
    return [cheap(content, name, own(content), BUDGET)] + [
        less(f"within {budget:g}", ours, best_rival(content, name, budget), name)
        for budget in BUDGETS
    ]


def near(content: Content, name: str) -> list[dict]:
    """How near retraining is dmm, with each attribution?"""
    noise = grid.klom(content, name, "retrain", None)
    found = []
    for label in own(content):
        ours = chosen(content, name, [label], BUDGET)
        what = f"KLoM of {label} less that of retraining, {name}"
        if ours is None or noise is None:
            found.append(result.claim(what, None, TOLERANCE))
            continue
        value, se = ours.klom - noise[0], hypot(ours.se, noise[1])
        found.append(result.claim(what, value, TOLERANCE, [value - 2 * se, value + 2 * se]))
    return found


def own(content: Content) -> list[str]:
    """The labels of dmm in this run."""
    return [label for label in labels(content) if label in (ALONE, COMBINED)]


def report(flags: argparse.Namespace, content: Content, base: Problem, name: str) -> None:
    """report.html of one forget set, with its reviews as text: dmm, and the best rival's trial."""
    config = content["config"]
    (asked,) = [entry for entry in config["forget"] if entry["name"] == name]
    here = base.forgetting(build(asked["kind"], base, seed=0, **asked["settings"]))
    others = [label for label in labels(content) if label not in own(content)]
    rival = best_rival(content, name, max(BUDGETS))
    wanted = [*own(content), *([rival.label] if rival and rival.label in others else [])]
    methods = {label.replace(", ", "-"): as_chosen(content, name, label) for label in wanted}
    compare(
        replace(here, name="IMDB reviews: " + name),
        {label: one for label, one in methods.items() if one is not None},
        out=flags.out.with_suffix("") / "report",
        runtime=Runtime(Store(flags.store), jobs=flags.jobs),
        members=config["members"],
        half_models=config["half_models"],
        texts=texts(here, here.forget),
        command=content["run"]["command"],
    )


def as_chosen(content: Content, name: str, label: str) -> Method | None:
    """A method as it was tuned on a forget set."""
    (entry,) = [e for e in content["config"]["candidates"] if e["label"] == label]
    (choice,) = [c for c in content["choices"] if (c["forget_set"], c["method"]) == (name, label)]
    settings = choice["chosen"][RULE]
    return None if settings is None else method(entry["name"], **settings)


def small(asked: dict) -> dict:
    """Fifty models of 400 reviews, the reviews that are alike alone; few steps of dmm."""
    sets = [{**asked["forget"][-1], "row": 7, "count": 20}]
    made = grid.only(asked, QUICK, options={"rows": 400}, members=50, forget=sets)
    kept = [entry for entry in made["method"] if entry.get("label") != COMBINED]
    for entry in kept:
        if entry["name"] == "dmm":
            entry["settings"] = {**entry["settings"], "steps": 8}
    return {**made, "method": kept}


if __name__ == "__main__":
    main()
