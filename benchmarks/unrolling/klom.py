"""Does the SD penalty also lower KLoM after unlearning, and does the unlearning error predict KLoM?

Thudi et al. 2022 (arXiv 2109.13398) judge by distances of weights; what a user sees are outputs.
One problem is trained with several gammas of the SD penalty, learning rates and lengths: for each
recipe 100 originals, oracles and models of the null (of IMDB 50); the same rows are forgotten by
the single gradient, gradient ascent, fine-tuning and Datamodel Matching at one setting each, and
judged by KLoM (mean of the three 95th percentiles, jackknife errors). Beside it stand verification
error, unlearning error and the accuracy that the recipe costs, means over ten originals.

Claims: KLoM of the untouched models, and of each method, at each gamma less that without penalty is
below zero; the correlation over recipes of the unlearning error (its logarithm) with the
KLoM of the single gradient is at least 0.7.

Run: python -m benchmarks.unrolling.klom --problem digits | imdb (about 20 minutes on one core).
"""

from dataclasses import replace
from functools import partial
from math import hypot, log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import result
from benchmarks.unrolling.klom_figure import draw
from expunge.api.compare import compare
from expunge.api.verification_error import verification_error
from expunge.audit.metrics.correlation import correlation
from expunge.fanout.runtime import Runtime
from expunge.forget_sets import build
from expunge.methods import method
from expunge.problem import Problem, Recipe
from expunge.problem.sd_penalty import SDPenalty
from expunge.store import Store
from expunge.zoo.digits import unusual_handwriting
from expunge.zoo.problems import problem

SETS: dict[str, dict[str, Any]] = {
    "digits": {
        "gammas": (0.0, 0.1, 0.3, 1.0, 3.0),
        "rates": (0.02, 0.05, 0.2),
        "epochs": (5, 60),
        "members": 100,
    },
    "imdb": {"gammas": (0.0, 0.1, 0.3, 1.0), "rates": (0.3,), "epochs": (3,), "members": 50},
}
UNROLLED, LEAST = 10, 0.7
FORMS = ("strict", "paper", "code")
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {  # smaller steps for logits of 32 x the mean
    "digits": {
        "single-gradient": {},
        "gradient-ascent": {"epochs": 5, "lr": 0.001},
        "fine-tune": {"epochs": 1, "lr": 0.01},
        "dmm": {},
    },
    "imdb": {
        "single-gradient": {},
        "gradient-ascent": {"epochs": 5, "lr": 0.01},
        "fine-tune": {"epochs": 1, "lr": 0.03},
        "dmm": {"steps": 60, "lr": 0.0002, "forget_batch_size": 32},
    },
}
METHODS = tuple(SETTINGS["digits"])


def main() -> None:
    flags = result.arguments(
        lambda flags: f"unrolling_klom_{flags.problem}", plots=True, problems=tuple(SETS)
    )
    if flags.plot:
        old = result.before(flags.out)
        facts = {name: old[name] for name in ("members", "seed", "quick", "measured_at")}
        recipes = old["recipes"]
    else:
        recipes = [judged(one, flags) for one in asked(flags)]
        members = 50 if flags.quick else SETS[flags.problem]["members"]
        facts = {"members": members, "seed": 0, "quick": flags.quick}
    claims = [*lower(recipes, flags.problem), predicts(recipes, flags.problem)]
    result.write(flags.out, claims, **facts, correlation=related(recipes), recipes=recipes)
    draw(flags.out)


def asked(flags: Any) -> list[dict[str, Any]]:
    """The recipes: gammas at the problem's own rate and length, then other rates and lengths."""
    own = SETS[flags.problem]
    found: list[dict[str, Any]] = [{"gamma": gamma} for gamma in own["gammas"]]
    found += [{"gamma": 0.0, "rate": rate} for rate in own["rates"]]
    found += [{"gamma": 0.0, "epochs": epochs} for epochs in own["epochs"]]
    return [found[0], found[1]] if flags.quick else found


def question(one: dict[str, Any], flags: Any) -> Problem:
    """The problem with one recipe and the rows to forget."""
    base = problem(flags.problem)
    assert isinstance(base.recipe, Recipe)
    recipe = base.recipe
    if one["gamma"]:
        recipe = replace(recipe, penalty=SDPenalty(one["gamma"]))
    if "rate" in one:
        recipe = replace(recipe, optimizer=partial(torch.optim.SGD, lr=one["rate"]))
    if "epochs" in one or flags.quick:
        recipe = replace(recipe, epochs=2 if flags.quick else one["epochs"])
    base = replace(base, recipe=recipe)
    if flags.problem == "digits":
        return base.forgetting(unusual_handwriting(base))
    return base.forgetting(build("nearest", base, seed=0, row=0, count=100))


def judged(one: dict[str, Any], flags: Any) -> dict[str, Any]:
    """KLoM of each method by one recipe, and both errors."""
    members, few = (50, 2) if flags.quick else (SETS[flags.problem]["members"], UNROLLED)
    asked = question(one, flags)
    runtime = Runtime(Store(flags.store), jobs=flags.jobs, progress=False)
    methods = {name: method(name, **chosen) for name, chosen in SETTINGS[flags.problem].items()}
    with TemporaryDirectory() as folder:
        out = Path(folder, "evidence")
        document = compare(asked, methods, out=out, runtime=runtime, members=members)
    measurements = verification_error(asked, runtime=runtime, members=few, measurements=4)[
        "measurements"
    ]
    last = measurements[-1]
    klom = {name: told(document[name]) for name in ("null", "original")}
    klom |= {name: told(document["methods"][name]) for name in METHODS}
    names = ("verification", "nothing", *FORMS, "sigma", "distance", "accuracy", "spread")
    found = {**one, "klom": klom, **{name: spread(last[name]) for name in names}}
    shown = {name: f"{value:.2f}" for name, (value, _) in klom.items()}
    print(one, shown, f"strict {found['strict'][0]:.3g}", flush=True)
    return found


def told(entry: dict[str, Any]) -> tuple[float, float]:
    """KLoM, the mean of the three 95th percentiles, and its standard error."""
    klom = entry["klom"]
    low, high = klom["average_interval"]
    return klom["average_p95"], klom.get("average_se") or (high - low) / 4


def spread(values: list[float]) -> tuple[float, float]:
    """Mean over originals and its standard error."""
    found = torch.tensor(values)
    return float(found.mean()), float(found.std() / len(found) ** 0.5)


def lower(recipes: list[dict[str, Any]], name: str) -> list[dict]:
    """KLoM with each gamma less that with none."""
    plain, claims = recipes[0], []
    for one in recipes:
        for who in ("original", *METHODS) if one["gamma"] else ():
            (a, da), (b, db) = one["klom"][who], plain["klom"][who]
            what = f"KLoM of {who}, gamma {one['gamma']:g} less none, {name}"
            reach = 2 * hypot(da, db)
            claims.append(result.claim(what, a - b, 0.0, [a - b - reach, a - b + reach]))
    return claims


def related(recipes: list[dict[str, Any]]) -> dict[str, Any]:
    """Over recipes, by form and method: the logarithm of the unlearning error against KLoM."""
    alone = torch.arange(len(recipes))
    found: dict[str, Any] = {}
    if len(recipes) < 3:
        return found
    for form in (*FORMS, "verification"):
        x = torch.tensor([log(max(one[form][0], 1e-12)) for one in recipes])
        found[form] = {
            who: correlation(x, torch.tensor([one["klom"][who][0] for one in recipes]), alone)
            for who in ("original", *METHODS)
        }
        found[form] = {who: one.__dict__ for who, one in found[form].items()}
    return found


def predicts(recipes: list[dict[str, Any]], name: str) -> dict:
    """The correlation of the strict form with the KLoM of the single gradient."""
    own = related(recipes).get("strict", {}).get("single-gradient", {"value": None, "low": None})
    ends = None if own["low"] is None else [-own["high"], -own["low"]]
    value = None if own["value"] is None else -own["value"]
    what = f"minus the correlation of log unlearning error and KLoM of single-gradient, {name}"
    return result.claim(what, value, -LEAST, ends)


if __name__ == "__main__":
    main()
