"""run(): a whole benchmark, resumable cell by cell, and the files that it leaves."""

from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from expunge import store
from expunge.api.collect_outputs import OutputBlocks
from expunge.api.needs import needs_halves
from expunge.api.provenance import problem_facts, run_facts
from expunge.api.require_fit import require_recipe_fit, require_trained_fit
from expunge.attribution.fit import Fit, fit
from expunge.bench import stopping
from expunge.bench.config import Config
from expunge.bench.evaluate import Chosen, Entry, evaluate
from expunge.bench.rescore import EVIDENCE, rescore
from expunge.bench.runs import Run, runs
from expunge.bench.trials import Trials, best, run_trials
from expunge.errors import BadInput
from expunge.fanout import bar
from expunge.fanout.runtime import Runtime
from expunge.methods import METHODS, settings
from expunge.problem import Problem
from expunge.store.checksummed import write_checksummed
from expunge.store.locks import exclusive
from expunge.training.model_cache import ModelCache, make_all


def run(
    config: Config,
    base: Problem,
    out: Path,
    runtime: Runtime,
    *,
    command: str = "",
) -> dict[str, Any]:
    """Make, forget, tune, judge, and write evidence and bench.json into `out`.

    Args:
        config: what to run.
        base: the problem, with a recipe and without rows to forget.
        out: folder of the results.
        runtime: store, processes, device; seeds come from the config.
        command: what repeats this run.

    Returns:
        The content of bench.json.

    Raises:
        BadInput: a task that is no classification, a forget set that cannot be built, a folder
            that cannot be written.
    """
    start = perf_counter()
    if base.task.kind != "classification":
        raise BadInput(
            f"a benchmark of a {base.task.kind}",
            expected="a classification: its metrics are shares of rows answered rightly",
            fix="use `expunge audit`, which also judges regressions",
        )
    store.require_writable(out)
    require_recipe_fit(ModelCache(base, runtime))
    fitted = _attribution(config, base, runtime)
    judged = runs(config, base, runtime, config.seeds, fitted)
    tuned = _tuning_runs(config, base, runtime, judged, fitted)
    _make(config, [*judged, *(here for here in tuned if here not in judged)])
    require_trained_fit(judged[0].cache, config.members)
    trials = run_trials(tuned, config.candidates)
    chosen = _chosen(config, trials)
    looks = _stopping(config, judged, chosen)
    entries, failed = evaluate(config, judged, tuned, trials, chosen)
    content = {
        "name": config.name,
        "config": _plain(asdict(config)),
        "forget_sets": [
            {
                "forget_set": here.forget_set.name,
                "seed": here.seed,
                **problem_facts(here.problem, runtime.progress, here.cache.content),
            }
            | {"emptied": here.targets["emptied"].tolist(), "evidence": str(number)}
            for number, here in enumerate(judged)
        ],
        "choices": _choices(config, trials, chosen),
        "cells": [entry.facts for entry in entries],
        "failed": failed,
        "run": run_facts(command, config.seeds[0], perf_counter() - start),
    }
    with exclusive(out):
        if looks is not None:
            store.write_tensors(out / stopping.FILE, looks)
        with bar("Writing evidence", len(judged), runtime.progress) as advance:
            for number, here in enumerate(judged):
                own = [entry for entry in entries if entry.here is here]
                here.write(out / EVIDENCE / str(number), _files(own))
                advance(1)
        found = rescore(content, out, looks, progress=runtime.progress)
        write_checksummed(out / "bench.json", found)
    return found


def _files(entries: list[Entry]) -> dict[str, OutputBlocks]:
    """The files of one run's cells of methods, whose names the cells then bear."""
    found = {}
    for entry in entries:
        if not entry.facts["file"]:
            entry.facts["file"] = f"unlearned-{len(found)}"
            found[entry.facts["file"]] = entry.outputs
    return found


def _attribution(config: Config, base: Problem, runtime: Runtime) -> Fit | None:
    """Half-data models, of the first seed; they serve every forget set."""
    trials = config.tuning.trials if config.tuning else 1
    tried = [m for entry in config.candidates for m in entry.trials(trials)]
    if not any(needs_halves(method) for method in tried):
        return None
    own = replace(runtime, seed=config.seeds[0])
    return fit(ModelCache(base, own), config.half_models)


def _tuning_runs(
    config: Config, base: Problem, runtime: Runtime, judged: list[Run], fitted: Fit | None
) -> list[Run]:
    if config.tuning is None:
        return [here for here in judged if here.seed == config.seeds[0]]
    if config.tuning.seed in config.seeds:
        return [here for here in judged if here.seed == config.tuning.seed]
    return runs(config, base, runtime, (config.tuning.seed,), fitted)


def _make(config: Config, everything: list[Run]) -> None:
    taught = any("teachers" in METHODS[entry.name].needs for entry in config.candidates)
    teachers = {"teacher": config.members} if taught else {}
    make_all([(here.cache, {**here.roles, **teachers}) for here in everything])


def _chosen(config: Config, trials: Trials) -> Chosen:
    chosen: Chosen = {}
    for (name, label), found in trials.items():
        for rule in config.rules:
            exclusive = found[0] if len(found) == 1 and not found[0].why else None
            trial = exclusive if rule == "fixed" else best(found, rule)
            chosen[name, label, rule] = trial.method if trial else None
    return chosen


def _stopping(config: Config, judged: list[Run], chosen: Chosen) -> dict[str, Tensor] | None:
    """What is seen while the methods of [stopping] run, with the settings of the last rule."""
    if config.stopping is None:
        return None
    here = next(h for h in judged if h.forget_set.name == config.stopping.forget)
    found = {m: chosen[here.forget_set.name, m, config.rules[-1]] for m in config.stopping.methods}
    return stopping.watched(here, {m: one for m, one in found.items() if one is not None})


def _choices(config: Config, trials: Trials, chosen: Chosen) -> list[dict[str, Any]]:
    """What was tried and what each rule chose."""
    return [
        {
            "forget_set": name,
            "method": label,
            "chosen": {
                rule: None if (one := chosen[name, label, rule]) is None else settings(one)
                for rule in config.rules
            },
            "trials": [trial.facts() for trial in found],
        }
        for (name, label), found in trials.items()
    ]


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
