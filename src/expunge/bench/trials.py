"""Tuning: every method's trials on the models of one seed, and what each rule chooses."""

from dataclasses import dataclass, field
from typing import Any

from expunge.api.collect_outputs import Failed, Job, jobs, result_of, run_jobs
from expunge.api.provenance import cost_facts
from expunge.bench.choice import oracle_free, with_oracles
from expunge.bench.config import Candidate
from expunge.bench.runs import Run
from expunge.methods import Method, settings
from expunge.training.from_recipe import retrain_units


@dataclass
class Trial:
    """One setting of one method on one run.

    Attributes:
        method: with its settings.
        jobs: its blocks; empty where it costs too much.
        scores: by rule, smaller is better; empty where it failed.
        why: it cannot be chosen; "" where it can.
        cost: as audit.json has costs.
    """

    method: Method
    jobs: list[Job] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    why: str = ""
    cost: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As bench.json has it."""
        finite = {
            rule: score if score < float("inf") else None for rule, score in self.scores.items()
        }
        return {
            "settings": settings(self.method),
            "scores": finite,
            "cost": self.cost,
            "failed": self.why,
        }


Trials = dict[tuple[str, str], list[Trial]]  # by forget set and label


def run_trials(own: list[Run], candidates: tuple[Candidate, ...]) -> Trials:
    """Run and score every trial on these runs, all of one seed.

    Args:
        own: one run for each forget set.
        candidates: with their grids.
    """
    trials: Trials = {}
    for here in own:
        for entry in candidates:
            key = here.forget_set.name, entry.label
            trials[key] = [_priced(here, method) for method in _methods(here, entry)]
    everything = [job for found in trials.values() for trial in found for job in trial.jobs]
    if everything:
        run_jobs(own[0].cache.runtime, everything, tolerant=True)
    for here in own:
        for entry in candidates:
            for trial in trials[here.forget_set.name, entry.label]:
                if trial.jobs:
                    _score(here, trial)
    return trials


def best(found: list[Trial], rule: str) -> Trial | None:
    """The trial that a rule chooses, the first of equals; None where none can be chosen."""
    usable = [t for t in found if not t.why and t.scores[rule] < float("inf")]
    return min(usable, key=lambda trial: trial.scores[rule], default=None)


def _methods(here: Run, entry: Candidate) -> list[Method]:
    tuning = here.config.tuning
    return entry.trials(tuning.trials if tuning else 1)


def _priced(here: Run, method: Method) -> Trial:
    tuning, whole = here.config.tuning, retrain_units(here.problem)
    units = method.price(here.problem).row_units
    share = units / whole if whole else 0.0
    if tuning and share > tuning.budget:
        return Trial(method, why=f"costs {share:.2f} of one retraining, above {tuning.budget:g}")
    return Trial(
        method, jobs(here.cache, here.panel, method, here.config.members, here.predictions)
    )


def _score(here: Run, trial: Trial) -> None:
    result = result_of(trial.jobs)
    if isinstance(result, Failed):
        trial.why = result.why
        return
    trial.cost = cost_facts(result.cost, here.problem)
    file = here.tuned(result.outputs)
    trial.scores = {
        "oracle-free": oracle_free(file, here.tuning),
        "oracle": with_oracles(file, here.tuning),
    }
