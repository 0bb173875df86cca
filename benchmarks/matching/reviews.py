"""The report of the reviews that `dmm.py imdb` forgets, as text: dmm, and the best rival."""

from dataclasses import replace
from typing import Any

from benchmarks import grid
from benchmarks.grid import Content
from expunge.api.compare import compare
from expunge.forget_sets import build
from expunge.methods import Method, method
from expunge.problem import Problem
from expunge.zoo.imdb import texts

RULE = "oracle"


def report(flags: Any, content: Content, base: Problem, labels: list[str]) -> None:
    """report/report.html of the last forget set, with these methods as they were tuned on it."""
    config = content["config"]
    asked = config["forget"][-1]
    name = asked["name"]
    here = base.forgetting(build(asked["kind"], base, seed=0, **asked["settings"]))
    methods = {label.replace(", ", "-"): as_chosen(content, name, label) for label in labels}
    compare(
        replace(here, name="IMDB reviews: " + name),
        {label: one for label, one in methods.items() if one is not None},
        out=flags.out.with_suffix("") / "report",
        runtime=grid.runtime(flags),
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
