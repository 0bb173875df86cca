"""What benchmarks that are a config of `expunge bench` share: to run it, or draw it again."""

import argparse
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import result

from expunge.api.attribution_cost import shared_cost
from expunge.bench.content import cells_of
from expunge.bench.parsing import parse
from expunge.bench.render import render
from expunge.bench.rescore import load
from expunge.bench.run import run
from expunge.fanout.runtime import Runtime
from expunge.methods import method
from expunge.problem import Problem, Recipe
from expunge.store import Store
from expunge.zoo.problems import problem

Content = dict[str, Any]


def content_of(
    flags: argparse.Namespace,
    name: str,
    small: Callable[[Content], Content],
    shorter: Callable[[Problem], Problem] = lambda base: base,
) -> Content:
    """bench.json of configs/NAME.toml, whose files lie beside the result file, in a folder.

    Args:
        flags: of `result.arguments`; with `plot` only tables and figures are made again.
        name: of the config.
        small: with `quick`, the config that is run in its place.
        shorter: with `quick`, the problem that is trained in its place.
    """
    folder: Path = flags.out.with_suffix("")
    if flags.plot:
        content = load(folder)
    else:
        asked = tomllib.loads((result.FOLDER / "configs" / f"{name}.toml").read_text())
        config = parse(small(asked) if flags.quick else asked, name)
        base = problem(config.problem, **config.options)
        runtime = Runtime(Store(flags.store), jobs=flags.jobs)
        words = ["--problem", flags.problem] if "problem" in flags else []
        command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
        content = run(
            config, shorter(base) if flags.quick else base, folder, runtime, command=command
        )
    render(content, folder)
    return content


def only(asked: Content, methods: set[str], **changes: Any) -> Content:
    """A smaller config: these methods, one trial each, and other changes."""
    kept = [entry for entry in asked["method"] if entry["name"] in methods]
    tuning = {**asked["tuning"], "trials": 1, "budget": 10.0} if "tuning" in asked else None
    changes = changes if tuning is None else {"tuning": tuning, **changes}
    return {**asked, "method": kept, "judged_rows": 100, **changes}


def klom(
    content: Content, forget_set: str, label: str, rule: str | None
) -> tuple[float, float] | None:
    """Mean of the three 95th percentiles and its standard error; None if none was measured."""
    cells = cells_of(content, forget_set, label, rule)
    found = cells[0]["scores"]["KLoM"] if cells else None
    return None if found is None or found["hidden"] else (found["value"], found["se"]["mean"])


def trained(content: Content, quick: bool) -> Problem:
    """The problem of a run, whose `quick` recipe is `shorter`."""
    base = problem(content["config"]["problem"], **content["config"]["options"])
    return shorter(base) if quick else base


def attribution(
    content: Content, forget_set: str, base: Problem, settings: dict[str, Any]
) -> dict[str, Any]:
    """What the attribution of dmm costs one model, as audit.json has shared costs.

    Args:
        content: of the run.
        forget_set: its name.
        base: the problem that was run.
        settings: of the trial, whose rows are predicted.
    """
    (entry,) = [e for e in content["forget_sets"] if e["forget_set"] == forget_set]
    one = method("dmm", **settings)
    return shared_cost(base.forgetting(range(entry["forget_rows"])), one, 0, None)


def shorter(base: Problem) -> Problem:
    """Three epochs of training, for `quick`."""
    assert isinstance(base.recipe, Recipe)
    return replace(base, recipe=replace(base.recipe, epochs=3))
