"""Does the unlearning error foretell the verification error, and does the SD penalty lower both?

The setting of "Unrolling SGD" (Thudi et al. 2022, arXiv 2109.13398): a model that was trained
before is fine-tuned by plain SGD, 32 rows a step, in one order again and again, at a fixed rate;
the batch to forget is the first. Along five epochs the verification error of single-gradient
unlearning and the factors of the unlearning error are measured, for several rates and several
gammas of the SD penalty, which the earlier training has too. CIFAR-10 and 25 classes of CIFAR-100
(5,000 rows, a small convolutional network without batch norm; all rows with --rows 0, for a GPU),
5,000 IMDB reviews (an embedding bag). Intervals: 95 % over trainings, which are orders of batches:
of correlations by a jackknife, of means by Student's t.

Claims: at a fixed rate the correlation over steps, and over steps and gammas with which the model
learns the task (nine tenths of the accuracy without), is at least 0.7, as the paper's argument
needs; the penalty lowers the verification error at all (ratio below 1). Beside them stands the
product of rate and curvature: at 2 plain SGD is at the edge of stability (Cohen et al. 2021, arXiv
2103.00065), where what one batch did cannot be told by a derivative.

Run: python -m benchmarks.unrolling.errors --problem cifar10 | cifar100 | imdb (each some 20 minutes
on one core; it resumes).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import result
from benchmarks.unrolling.errors_figure import draw
from expunge.api.verification_error import verification_error
from expunge.audit.metrics.correlation import correlation
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem, Recipe
from expunge.problem.recipe import constant
from expunge.problem.sd_penalty import SDPenalty
from expunge.store import Store, write_json
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History
from expunge.zoo.problems import problem

GAMMAS = (0.0, 0.05, 0.2, 0.5)  # the paper's scaling: 0.5 to 4.7 in its code's, ten classes
SETS: dict[str, dict[str, Any]] = {
    "cifar10": {"name": "cifar10-small", "rates": (0.003, 0.01, 0.03), "rate": 0.01},
    "cifar100": {"name": "cifar100-small", "rates": (0.003, 0.01, 0.03), "rate": 0.01},
    "imdb": {"name": "imdb", "rates": (0.1, 0.3, 1.0), "rate": 0.3, "more": (2.0,)},
    "digits": {"name": "digits", "rates": (0.03, 0.1), "rate": 0.1},  # for --quick
}
ROWS, BATCH, EPOCHS, LOOKS = 5000, 32, 5, 6
MEMBERS, HESSIAN_ROWS = 4, 256
FORMS = ("strict", "paper", "code")
LEAST = 0.7
LEARNT = 0.9  # of the accuracy without penalty: below, the model has not learnt the task


def main() -> None:
    made = result.parser(lambda flags: f"unrolling_{flags.problem}", plots=True)
    made.add_argument("--problem", choices=[*SETS], default="cifar10")
    made.add_argument("--rows", type=int, default=ROWS, help="train rows; 0: all")
    made.add_argument("--device", default="cpu")
    flags = made.parse_args()
    asked = SETS["digits" if flags.quick else flags.problem]
    details = flags.out.with_suffix("") / "runs.json"
    if flags.plot:
        old, runs = result.before(flags.out), json.loads(details.read_text())
        facts = {name: old[name] for name in ("members", "seed", "quick", "measured_at")}
    else:
        runtime = Runtime(Store(flags.store), jobs=flags.jobs, device=flags.device)
        runs = measured(asked, flags, runtime)
        write_json(details, runs)
        facts = {"members": 2 if flags.quick else MEMBERS, "seed": 0, "quick": flags.quick}
    found = judged(runs, asked["rate"])
    claims = claimed(found, flags.problem)
    result.write(flags.out, claims, files=flags.out.stem, **facts, **found)
    draw(details, asked["rate"])


def measured(asked: dict[str, Any], flags: Any, runtime: Runtime) -> list[dict[str, Any]]:
    """What is seen of each rate and gamma: looks along the fine-tuning of each member."""
    grid = [(rate, 0.0) for rate in asked["rates"]]
    grid += [(asked["rate"], gamma) for gamma in (*GAMMAS, *asked.get("more", ())) if gamma]
    members, measurements = (2, 3) if flags.quick else (MEMBERS, LOOKS)
    runs = []
    for rate, gamma in grid[:3] if flags.quick else grid:
        base = tuned(asked["name"], flags, runtime, rate, gamma)
        found = [first_batch(base, member, measurements, runtime) for member in range(members)]
        runs.append({"rate": rate, "gamma": gamma, "trainings": found})
        last = [one["measurements"][-1] for one in found]
        print(
            f"rate {rate:g}, gamma {gamma:g}: verification error {mean(last, 'verification'):.3g} "
            f"(nothing {mean(last, 'nothing'):.3g}), strict {mean(last, 'strict'):.3g}, "
            f"accuracy {mean(last, 'accuracy'):.1f} %",
            flush=True,
        )
    return runs


def tuned(name: str, flags: Any, runtime: Runtime, rate: float, gamma: float) -> Problem:
    """The fine-tuning of one model that was trained before with the same penalty."""
    rows = {} if flags.quick else {"rows": flags.rows or None}
    base = problem(name, **rows)
    assert isinstance(base.recipe, Recipe)
    penalty = SDPenalty(gamma) if gamma else None
    epochs = 3 if flags.quick else base.recipe.epochs
    earlier = replace(base, recipe=replace(base.recipe, penalty=penalty, epochs=epochs))
    (before,) = ModelCache(earlier, runtime).models("teacher", 1).modules()
    return replace(
        base,
        recipe=replace(
            earlier.recipe,
            build=again(base.recipe.build, before),
            epochs=1 if flags.quick else EPOCHS,
            batch_size=BATCH,
            optimizer=partial(torch.optim.SGD, lr=rate),
            schedule=constant,
            reshuffle=False,
        ),
    )


def again(build: Callable[[], nn.Module], before: nn.Module) -> Callable[[], nn.Module]:
    """Builds the model with the weights of one that was trained before."""
    state = {name: t.detach().cpu() for name, t in before.state_dict().items()}

    def built() -> nn.Module:
        module = build()
        module.load_state_dict(state)
        return module

    return built


def first_batch(base: Problem, member: int, measurements: int, runtime: Runtime) -> dict[str, Any]:
    """Unroll one order of the batches, whose first is to be forgotten."""
    batch = History(base, (member,), runtime.seed).plan[0, 0]
    found = verification_error(
        base.forgetting(batch),
        runtime=replace(runtime, progress=False),
        members=(member,),
        measurements=measurements,
        hessian_rows=HESSIAN_ROWS,
    )
    plain = [
        {name: value[0] if isinstance(value, list) else value for name, value in one.items()}
        for one in found["measurements"]
    ]
    return {"member": member, "measurements": plain, "layers": found["layers"]}


def judged(runs: list[dict[str, Any]], rate: float) -> dict[str, Any]:
    """Correlations within and across settings, and what the penalty does at the end."""
    at_rate = [run for run in runs if run["rate"] == rate]
    plain = [run for run in runs if run["gamma"] == 0]
    least = LEARNT * accuracy(at_rate[0])
    learnt = [run for run in at_rate if accuracy(run) >= least]
    return {
        "learnt": [run["gamma"] for run in learnt],
        "correlation": {
            "one rate, over steps": pearson([run for run in at_rate if not run["gamma"]]),
            "one rate, over steps and gammas": pearson(at_rate),
            "one rate, over steps and gammas that learn": pearson(learnt),
            "at the end, over gammas that learn": pearson(learnt, last=True),
            "over steps and rates": pearson(plain),
            "at the end, over rates": pearson(plain, last=True),
        },
        "penalty": [penalised(run, at_rate[0]) for run in at_rate],
        "settings": [summary(run) for run in runs],
    }


def accuracy(run: dict[str, Any]) -> float:
    """Of one setting, at the end, %."""
    return mean([training["measurements"][-1] for training in run["trainings"]], "accuracy")


def pearson(runs: list[dict[str, Any]], last: bool = False) -> dict[str, Any]:
    """By form the correlation with the verification error; a training with its order is a group.

    The same order with another rate or gamma is the same group: they share the batch to forget.
    """
    points = [
        (look, training["member"])
        for run in runs
        for training in run["trainings"]
        for look in (training["measurements"][-1:] if last else training["measurements"])
    ]
    y = torch.tensor([look["verification"] for look, _ in points])
    group = torch.tensor([member for _, member in points])
    return {
        form: correlation(torch.tensor([look[form] for look, _ in points]), y, group).__dict__
        for form in FORMS
    }


def penalised(run: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """What a gamma does to the last look, relative to no penalty, paired."""
    found: dict[str, Any] = {"gamma": run["gamma"]}
    for name in ("verification", "strict", "nothing", "spread"):
        ratios = torch.tensor(
            [
                a["measurements"][-1][name] / b["measurements"][-1][name]
                for a, b in zip(run["trainings"], plain["trainings"], strict=True)
            ]
        ).log()
        found[name] = interval(ratios, of=torch.exp)
    lost = [
        b["measurements"][-1]["accuracy"] - a["measurements"][-1]["accuracy"]
        for a, b in zip(run["trainings"], plain["trainings"], strict=True)
    ]
    return {**found, "accuracy lost, points": interval(torch.tensor(lost))}


def interval(values: torch.Tensor, of: Callable = lambda x: x) -> dict[str, float]:
    """The mean and its 95 % interval by Student's t, carried back by `of`."""
    ends = of(torch.tensor(result.interval(values)))
    return dict(zip(("value", "low", "high"), ends.tolist(), strict=True))


def summary(run: dict[str, Any]) -> dict[str, Any]:
    """The last look of one setting over orders; rate x curvature is the mean over all looks."""
    last = [training["measurements"][-1] for training in run["trainings"]]
    names = [name for name in last[0] if name not in ("steps", "products", "rate")]
    columns = {n: interval(torch.tensor([one[n] for one in last])) for n in names}
    sharp = [one["sigma"] for one in last]  # which is the mean over the looks
    columns["rate x curvature"] = interval(run["rate"] * torch.tensor(sharp))
    return {"rate": run["rate"], "gamma": run["gamma"], "steps": last[0]["steps"], **columns}


def claimed(found: dict[str, Any], name: str) -> list[dict]:
    """Correlations in the paper's own setting, and the penalty at each gamma."""
    claims = []
    for over in ("steps", "steps and gammas that learn"):
        own = found["correlation"][f"one rate, over {over}"]["strict"]
        ends = None if own["low"] is None else [-own["high"], -own["low"]]
        value = None if own["value"] is None else -own["value"]
        what = f"minus the correlation over {over} at one rate, {name}"
        claims.append(result.claim(what, value, -LEAST, ends))
    for one in found["penalty"]:
        if one["gamma"]:
            v = one["verification"]
            what = f"verification error with gamma {one['gamma']:g} relative to none, {name}"
            claims.append(result.claim(what, v["value"], 1.0, [v["low"], v["high"]]))
    return claims


def mean(measurements: list[dict[str, float]], name: str) -> float:
    return sum(one[name] for one in measurements) / len(measurements)


if __name__ == "__main__":
    main()
