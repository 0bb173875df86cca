"""What unlearning and its evidence cost at scale: a model that is checked, and carried further.

The model has three parts: row units (the package's own prices), bytes of the store, and a queue of
trainings on workers that fail. Checked are: row units against seconds of earlier runs, and of a
short run on networks of four sizes; bytes against files; the queue's formulae against a simulation.
Then it is carried to ImageNet with ResNet-50 and to a billion texts with a model of seven billion
weights, by published rates of GPUs, since none was measured: `--gpu FILE` replaces them by rates of
one's own, e.g. {"ResNet-50, images": [2000, 2100]} in rows or tokens a second and GPU.

Claims: how many times predictions are off, by kind. Fills the tables of docs/scale.md.

Run: EXPUNGE_DATA=... python -m benchmarks.scale.run (a minute on one core; --plot only draws).
"""

from dataclasses import asdict
from math import exp, log
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

from benchmarks import measured, result
from benchmarks.scale import figure, short_run, tables
from benchmarks.scale.carried import carried, queues
from benchmarks.scale.cluster_queue import Queue, given_up_share, makespan, overhead, simulate
from benchmarks.scale.recorded import Check, checks, here
from benchmarks.scale.scenarios import Rate, measured_rates

DOCS = result.FOLDER.parent / "docs" / "scale.md"
NEAR, EXACT = 1.5, 1.05  # factors that seconds, and bytes and queues, may be off
TASKS = 20_000  # that a queue is simulated with, in as many runs as it takes
LEAST_RUNS = 20
SLOW = ("steps of 32 rows", short_run.PRODUCT, short_run.EKFAC)  # in a request by dmm


def main() -> None:
    made = result.parser("scale", plots=True)
    made.add_argument("--gpu", type=Path, default=None, help="JSON of rates measured on a GPU")
    flags = made.parse_args()
    facts: dict[str, Any]
    if flags.plot:
        old = result.before(flags.out)
        facts = {name: old[name] for name in ("quick", "measured_at", "checks", "short", "here")}
    else:
        found = checks(result.FOLDER / "results")
        facts = {
            "quick": flags.quick,
            "checks": [check._asdict() for check in found],
            "here": here(result.FOLDER / "results"),
            "short": short_run.run(flags.quick),
        }
    rates, short = measured_rates(flags.gpu), facts["short"]
    slower = max(1.0, *(median(largest(short, work)[1]) for work in SLOW))
    writing = short["writing, bytes/s"]
    everything = carried(
        rates, slower, writing, short["eigenvectors, s / side^3"], short["bookkeeping, s a row"]
    )
    waited = {name: queue(one, flags.quick) for name, one in queues(rates, writing).items()}
    result.write(
        flags.out,
        claims(facts, waited),
        **facts,
        rates={name: described(rate) for name, rate in rates.items()},
        slower=slower,
        carried=everything,
        queues=waited,
    )
    tables.write(flags.out, DOCS)
    figure.draw(flags.out.with_suffix("") / "queue.svg", waited)


def claims(facts: dict[str, Any], waited: dict[str, dict[str, Any]]) -> list[dict]:
    """How many times predictions are off: 1 is exact."""
    found = [Check(**check) for check in facts["checks"]]
    made = []
    for kind in dict.fromkeys(check.kind for check in found):
        off = [max(check.ratio, 1 / check.ratio) for check in found if check.kind == kind]
        what = f"times that seconds are off: {kind} ({len(off)})"
        made.append(measured.claim(what, off, NEAR))
    for work in next(iter(facts["short"]["networks"].values()))["actual over predicted"]:
        name, ratios = largest(facts["short"], work)
        what = f"actual over predicted seconds in the short run: {work}, {name}"
        made.append(measured.claim(what, ratios, NEAR))
    for check in facts["short"]["bytes"]:
        off = exp(abs(log(Check(**check).ratio)))
        made.append(result.claim(f"times that bytes are off: {check['what']}", off, EXACT))
    for name, one in waited.items():
        if one["given up, formula"]:
            difference = abs(one["given up"] - one["given up, formula"])
            made.append(result.claim(f"share given up, off by: {name}", difference, 0.01))
        else:
            low, high = sorted(one["simulated / formula, interval"])
            off = [max(x, 1 / x) for x in (low, high)]
            within = [1.0 if low <= 1 <= high else min(off), max(off)]
            what = f"times that the makespan is off: {name}"
            value = one["makespan, simulated"] / one["makespan, formula"]
            made.append(result.claim(what, max(value, 1 / value), EXACT, within))
    return made


def largest(short: dict[str, Any], work: str) -> tuple[str, list[float]]:
    """Of the largest network that did this work: its name, and actual over predicted seconds."""
    own = [
        (name, one["actual over predicted"][work])
        for name, one in short["networks"].items()
        if work in one["actual over predicted"]
    ]
    return own[-1]


def queue(one: Queue, quick: bool) -> dict[str, Any]:
    """A queue by its formulae and simulated."""
    runs = LEAST_RUNS if quick else max(LEAST_RUNS, TASKS // one.tasks)
    outcomes = [simulate(one, seed) for seed in range(runs)]
    formula = makespan(one)
    ratios = torch.tensor([o.makespan / formula for o in outcomes], dtype=torch.float64)
    spent = fmean(o.busy + o.failures * one.restart for o in outcomes)
    # JSON knows no infinity
    setting = {name: value for name, value in asdict(one).items() if value != np.inf}
    return {
        **setting,
        "runs": runs,
        "makespan, formula": formula,
        "makespan, simulated": formula * float(ratios.mean()),
        "simulated / formula, interval": result.interval(ratios)[1:],
        "overhead, formula": overhead(one),
        "overhead, simulated": spent / (one.tasks * one.mean) - 1,
        "given up, formula": given_up_share(one),
        "runs that give one up, formula": 1 - (1 - given_up_share(one)) ** one.tasks,
        "runs that give one up": fmean(o.given_up > 0 for o in outcomes),
        "given up": fmean(o.given_up for o in outcomes) / one.tasks,
    }


def described(rate: Rate) -> dict[str, Any]:
    """A rate for the result file."""
    return {
        "measured by us": rate.measured,
        "ends": [
            {**end._asdict(), "share of the peak": None if rate.measured else rate.share(end)}
            for end in (rate.low, rate.high)
        ],
    }


if __name__ == "__main__":
    main()
