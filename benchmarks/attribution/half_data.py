"""How much larger are effects in half-data models than in models of all rows?

Theory says one to two times (attribution/two_sizes.py): a row weighs twice as much among half as
many, in a training half as long. Here the true change, mean outputs of 100 models retrained without
a set less those of 100 trained on all rows, is regressed on the difference of means D of half-data
models. D is noisy, which would flatten the slope, so it is <truth, D> / <D_A, D_B> with D_A and D_B
from either half of the half-data models, which must agree beyond chance. Intervals leave out a
tenth of all models at a time. Claims: slopes are at most 1, and `datamodels` errs less with its r
(1/2 for other rows, 3/4 for forgotten ones) than with r = 1.

Run: python -m benchmarks.attribution.half_data (two hours on two cores; minutes after
`matching.digits` and `matching.dmm fashion` with the same --store).
"""

import argparse
from typing import Any

import torch
from torch import Tensor

from benchmarks import grid, result
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.fit import fit
from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.split_half import Estimates, SplitHalf, weightings
from expunge.fanout.runtime import Runtime
from expunge.forget_sets import build
from expunge.problem import Problem
from expunge.store import Store
from expunge.training.model_cache import ModelCache, make_all
from expunge.zoo.problems import problem

TENTHS = 10
CHANCE = 2.0  # D_A and D_B agree by so many times what chance gives, or nothing is said
RUNS = {"digits": 4000, "fashion-mlp": 2000}  # half-data models
CONFIGS = {"digits": "dmm_digits", "fashion-mlp": "dmm_fashion"}


def main() -> None:
    flags = result.arguments("half_data")
    runs = {"digits": 60} if flags.quick else RUNS
    models = 10 if flags.quick else 100
    rows = [
        {"problem": name, **found}
        for name, count in runs.items()
        for found in measured(name, models, count, flags)
    ]
    claims = [claim for row in rows for claim in claimed(row)]
    result.write(flags.out, claims, sets=rows, models=models, half_models=runs)


def measured(name: str, models: int, count: int, flags: argparse.Namespace) -> list[dict]:
    """Slopes and errors of each forget set of a problem's benchmark, group by group."""
    asked = grid.config(CONFIGS[name])
    base = grid.shorter(problem(name)) if flags.quick else problem(name)
    runtime = Runtime(Store(flags.store), jobs=flags.jobs)
    whole = ModelCache(base, runtime)
    sets = {e.pop("name"): ModelCache(without(base, e), runtime) for e in asked["forget"]}
    roles = [(cache, {"oracle": models}) for cache in sets.values()]
    make_all([(whole, {"original": models}), *roles])
    halves = fit(whole, count).halves
    return [
        {"set": what, **found}
        for what, cache in sets.items()
        for found in groups(cache, halves, models)
    ]


def without(base: Problem, entry: dict[str, Any]) -> Problem:
    """The problem with the rows to forget of an entry of its config."""
    return base.forgetting(build(entry.pop("kind"), base, seed=0, **entry))


def groups(cache: ModelCache, halves: HalfDataModels, models: int) -> list[dict]:
    """What is measured on the forgotten rows, and on some others of the train set."""
    forget = cache.problem.forget
    known = Datamodels(halves).repeats(forget)
    probe = known.probes["train"]
    truth = without_tenths(change(cache, probe.rows, models))
    said = differences(halves, forget, probe.rows)
    found = []
    for name, rows in (("forgotten", probe.own), ("others", ~probe.own)):
        facts = {"group": name, "rows": int(rows.sum()), **slope(truth[:, rows], said[:, :, rows])}
        facts["clear"] = agreement(probe.estimates.of(rows)) > CHANCE
        facts["error"] = errors(truth[:, rows], halves, known, probe.rows[rows])
        found.append(facts)
    return found


def change(cache: ModelCache, rows: Tensor, models: int) -> Tensor:
    """Of each retrained model and an original, (models, rows, C), logits less their mean."""
    task, data = cache.problem.task, cache.problem.train
    before, after = (
        cache.models(role, models).outputs(task, data, rows).double()
        for role in ("original", "oracle")
    )
    return (after - before) - (after - before).mean(-1, keepdim=True)


def without_tenths(changes: Tensor) -> Tensor:
    """Means over all models, and without each tenth of them, (1 + TENTHS, rows, C)."""
    tenth = torch.arange(len(changes)) % TENTHS
    fewer = [changes[tenth != k].mean(0) for k in range(TENTHS)]
    return torch.stack([changes.mean(0), *fewer])


def differences(halves: HalfDataModels, forget: Tensor, rows: Tensor) -> Tensor:
    """D, D_A and D_B, of all half-data models and without each tenth, (1 + TENTHS, 3, rows, C)."""
    inside = halves.memberships(forget)
    weights = [weightings(inside, 0)]
    for tenth in range(TENTHS):
        kept = torch.arange(len(inside)) // 2 % TENTHS != tenth  # either half loses as many
        part = torch.zeros(3, len(inside), dtype=torch.float64)
        part[:, kept] = weightings(inside[kept], 0)
        weights.append(part)
    sums = halves.sums(torch.cat(weights), {"train": rows})["train"]
    return -sums.weighted.view(1 + TENTHS, 3, *sums.variance.shape)


def slope(truth: Tensor, said: Tensor) -> dict[str, Any]:
    """The slope of the truth on D, less D's noise, with its interval; sizes of both."""
    over = (said[:, 1] * said[:, 2]).sum((1, 2))
    found = interval((truth * said[:, 0]).sum((1, 2)) / over)
    sizes = {"truth_rms": rms(truth[0]), "difference_rms": rms(said[0, 0])}
    return {"slope": found, **sizes}


def agreement(estimates: Estimates) -> float:
    """<D_A, D_B> in units of what chance gives."""
    first, second = estimates.halves
    return float((first * second).sum()) / estimates.by_chance


def errors(truth: Tensor, halves: HalfDataModels, known: SplitHalf, rows: Tensor) -> dict[str, Any]:
    """Root mean square error of `datamodels` with its r, with r = 1, and what r spares."""
    found = {}
    for name, size in (("with r", None), ("with 1", 1.0)):
        model = Datamodels(halves, size=size)
        model.remember(known)
        mean = model.without(known.forget, rows).mean
        found[name] = (truth - mean).square().mean((1, 2)).sqrt()
    less = interval(found["with r"] - found["with 1"])
    return {name: float(error[0]) for name, error in found.items()} | {"less": less}


def interval(values: Tensor) -> list[float]:
    """A number and its ends, two jackknife errors away, from all models and without each tenth."""
    fewer = values[1:]
    se = float(((TENTHS - 1) / TENTHS * (fewer - fewer.mean()).square().sum()).sqrt())
    value = float(values[0])
    return [value, value - 2 * se, value + 2 * se]


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.square().mean().sqrt())


def claimed(row: dict[str, Any]) -> list[dict]:
    """What is claimed of one set and group; nothing where half-data models see no effect."""
    if not row["clear"]:
        return []
    what = f"{row['problem']}, {row['set']}, {row['group']} rows"
    told = {
        f"slope of the truth on the difference of means, {what}": (row["slope"], 1.0),
        f"error with r less that with r = 1, {what}": (row["error"]["less"], 0.0),
    }
    return [result.claim(name, v, target, [lo, hi]) for name, ((v, lo, hi), target) in told.items()]


if __name__ == "__main__":
    main()
