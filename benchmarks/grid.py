"""What benchmarks that are a config of `expunge bench` share: to run it, or draw it again.

Everything that is made lies in the store, also the middle of a training. So the same command goes
on where the last one stopped, and `--minutes` cuts a long run into pieces that end on time.
"""

import argparse
import signal
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import result
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


def parser(name: result.Name) -> result.Parser:
    """The flags of such a benchmark; see `result.parser`."""
    made = result.parser(name, plots=True)
    made.add_argument("--device", default="cpu")
    made.add_argument("--minutes", type=float, help="stop cleanly after so many; run it again")
    return made


def config(name: str) -> Content:
    """configs/NAME.toml."""
    return tomllib.loads((result.FOLDER / "configs" / f"{name}.toml").read_text())


def content_of(
    flags: argparse.Namespace,
    asked: Content,
    words: tuple[Any, ...] = (),
    shorter: Callable[[Problem], Problem] | None = None,
) -> Content:
    """bench.json of a config, whose files lie beside the result file, in a folder.

    Args:
        flags: of `parser`; with `plot` only tables and figures are made again.
        asked: the config.
        words: follow the command that repeats this.
        shorter: makes the problem that is trained from the config's.
    """
    folder: Path = flags.out.with_suffix("")
    if flags.plot:
        content = load(folder)
    else:
        if flags.minutes:
            signal.signal(signal.SIGALRM, _stop)
            signal.alarm(max(1, round(60 * flags.minutes)))
        known = parse(asked)
        base = problem(known.problem, **known.options)
        base = shorter(base) if shorter else base
        content = run(known, base, folder, runtime(flags), command=result.command(*words))
    render(content, folder)
    return content


def configured(
    flags: argparse.Namespace, name: str, small: Callable[[Content], Content], *words: Any
) -> Content:
    """`content_of` configs/NAME.toml; with `quick` of the `small` one, and of `shorter`."""
    asked = config(name)
    if flags.quick:
        return content_of(flags, small(asked), words, shorter)
    return content_of(flags, asked, words)


def runtime(flags: argparse.Namespace) -> Runtime:
    """Where a benchmark runs: a piece that ends leaves no other processes behind."""
    jobs = flags.jobs or (1 if flags.minutes else None)
    return Runtime(Store(flags.store), device=flags.device, jobs=jobs)


def _stop(*_: Any) -> None:
    raise SystemExit("The minutes are over; what is done is kept. The same command goes on.")


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


def names(content: Content) -> list[str]:
    """The forget sets of a run."""
    return [entry["name"] for entry in content["config"]["forget"]]


def labels(content: Content) -> list[str]:
    """The methods of a run."""
    return [entry["label"] for entry in content["config"]["candidates"]]


def attribution(
    content: Content, forget_set: str, base: Problem, label: str, settings: dict[str, Any]
) -> Any:
    """What the attribution of a method costs one model, as audit.json has shared costs.

    Args:
        content: of the run.
        forget_set: its name.
        base: the problem that was run.
        label: of the method.
        settings: of the trial, whose rows are predicted.
    """
    (entry,) = [e for e in content["forget_sets"] if e["forget_set"] == forget_set]
    (name,) = [e["name"] for e in content["config"]["candidates"] if e["label"] == label]
    asked, one = base.forgetting(range(entry["forget_rows"])), method(name, **settings)
    return shared_cost(asked, one, content["config"]["half_models"], None)


def shorter(base: Problem) -> Problem:
    """Three epochs of training, for `quick`."""
    assert isinstance(base.recipe, Recipe)
    return replace(base, recipe=replace(base.recipe, epochs=3))
