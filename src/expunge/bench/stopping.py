"""The stopping-time figure: how likely oracles find each forgotten row while a method runs.

Source: Georgiev et al. 2024, arXiv 2410.23232, Figures 2 and 5: some rows are right long before
others, and methods that push all of them with one force overshoot the first while they wait for
the last.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from expunge.api.observing import jobs
from expunge.audit.margin import margins
from expunge.audit.stopping import likelihood, oracle_band, overshoots
from expunge.bench.rounds import Round
from expunge.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import Given, Method

POINTS = 40  # looks during a run
LEAST = 10  # oracles, for a Gaussian of each row


def watched(here: Round, methods: dict[str, Method]) -> dict[str, Any]:
    """Run each method on the first original of a round, looking on.

    Args:
        here: with at least 10 oracles.
        methods: by label; their settings are those of the figure.

    Returns:
        "runs": label -> {"steps", "loglik", "overshoots"} and "band", all as lists, which is what
        `report.bench.stopping` draws.

    Raises:
        BadInput: too few oracles, or a method that does not descend step by step.
    """
    if len(here.seen["oracle"]["forget"]) < LEAST:
        raise BadInput(
            f"{len(here.seen['oracle']['forget'])} oracles for the stopping-time figure",
            expected=f"at least {LEAST}",
            cure="raise members in the config, or leave the figure out",
        )
    task, rows = here.problem.task, here.problem.forget
    oracle, before = (_margins(here, here.seen[role]["forget"]) for role in ("oracle", "original"))
    runs = {}
    for label, method in methods.items():
        first = jobs(here.maker, here.panel, method, here.config.members, here.change)[0]
        models = here.maker.block(first.original, first.ids)
        teachers = here.maker.block(first.teacher, first.ids) if first.teacher else None
        seen: list[tuple[int, Tensor]] = []

        def look(_: Ensemble, seen: list = seen) -> Callable[[int, Ensemble], None]:
            def watch(done: int, group: Ensemble) -> None:
                seen.append((done, group.outputs(task, here.problem.train, rows)[0]))

            return watch

        method(here.problem, models, Given(first.change, teachers, watch=look), seed=here.seed)
        if not seen:
            raise BadInput(
                f"{label} for the stopping-time figure",
                expected="a method that descends step by step",
                cure="name another method, e.g. scrub or oracle-matching",
            )
        kept = seen[:: max(1, len(seen) // POINTS)]
        found = _margins(here, torch.stack([outputs for _, outputs in kept]))
        runs[label] = {
            "steps": [step for step, _ in kept],
            "loglik": likelihood(found[:, None], oracle)[:, 0].tolist(),
            "overshoots": overshoots(found, before[0], oracle).tolist(),
        }
    return {"runs": runs, "band": list(oracle_band(oracle))}


def _margins(here: Round, outputs: Tensor) -> Tensor:
    return margins(outputs, here.targets["forget"], here.problem.task.kind)
