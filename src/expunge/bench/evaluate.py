"""The cells of a benchmark: every judged seed's references, chosen settings and trials."""

from dataclasses import dataclass
from typing import Any

from expunge.api.collect_outputs import (
    Failed,
    MethodOutputs,
    OutputBlocks,
    jobs,
    result_of,
    run_jobs,
)
from expunge.api.provenance import cost_facts
from expunge.bench.config import Config
from expunge.bench.content import ORACLE, ORIGINAL, RETRAIN
from expunge.bench.runs import Run
from expunge.bench.trials import Trials
from expunge.engine.cost import Cost
from expunge.methods import Method, settings

Chosen = dict[tuple[str, str, str], Method | None]  # by forget set, label, rule


@dataclass(frozen=True)
class Entry:
    """A cell: what it is, and how its answers are had."""

    facts: dict[str, Any]
    here: Run
    outputs: OutputBlocks


def evaluate(
    config: Config, judged: list[Run], tuned: list[Run], trials: Trials, chosen: Chosen
) -> tuple[list[Entry], list[dict[str, Any]]]:
    """All cells of the judged seeds: the chosen settings, and every trial made on a judged seed.

    Returns:
        The cells, and what failed on a judged seed though it was chosen.
    """
    wanted: list[tuple[Run, str, Method, list[str]]] = []
    for here in judged:
        for entry in config.candidates:
            by_settings: dict[str, tuple[Method, list[str]]] = {}
            if here in tuned:
                for trial in trials[here.forget_set.name, entry.label]:
                    if not trial.why:
                        by_settings[str(settings(trial.method))] = (trial.method, [])
            for rule in config.rules:
                method = chosen[here.forget_set.name, entry.label, rule]
                if method is not None:
                    by_settings.setdefault(str(settings(method)), (method, []))[1].append(rule)
            wanted += [(here, entry.label, *found) for found in by_settings.values()]
    todo = [
        jobs(here.cache, here.panel, method, config.members, here.predictions)
        for here, _, method, _ in wanted
    ]
    run_jobs(judged[0].cache.runtime, [job for own in todo for job in own], tolerant=True)
    entries, failed = [], []
    for here in judged:
        entries += _references(here)
        for (own, label, method, rules), done in zip(wanted, todo, strict=True):
            if own is not here:
                continue
            result = result_of(done)
            if isinstance(result, Failed):
                place = {"forget_set": here.forget_set.name, "seed": here.seed, "method": label}
                failed.append({**place, "rules": rules, "why": result.why})
            else:
                entries.append(_entry(here, label, method, rules, result))
    return entries, failed


def _references(here: Run) -> list[Entry]:
    """The untouched models, retrained ones, and (first) the oracles that all are judged by."""
    training = cost_facts(here.training_cost(), here.problem)
    second = "null" if "null" in here.seen else "oracle"
    lines = {ORACLE: "oracle", ORIGINAL: "original", RETRAIN: second}
    return [
        Entry(
            _facts(here, label, [], {}, training if label == RETRAIN else _nothing(here))
            | {"file": role, "changed": None, "reason": ""},
            here,
            here.seen[role],
        )
        for label, role in lines.items()
    ]


def _entry(here: Run, label: str, method: Method, rules: list[str], result: MethodOutputs) -> Entry:
    facts = _facts(here, label, rules, settings(method), cost_facts(result.cost, here.problem))
    more = {"file": "", "changed": result.changed, "reason": result.reason}
    return Entry(facts | more, here, result.outputs)


def _facts(
    here: Run, label: str, rules: list[str], chosen: dict[str, Any], cost: dict[str, Any]
) -> dict[str, Any]:
    return {
        "forget_set": here.forget_set.name,
        "seed": here.seed,
        "method": label,
        "rules": rules,
        "settings": chosen,
        "cost": cost,
    }


def _nothing(here: Run) -> dict[str, Any]:
    return cost_facts(Cost(), here.problem)
