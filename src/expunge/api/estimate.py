"""estimate(): what each method would cost before anything is spent, and which to take."""

from bisect import bisect_right
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.api.attribution_cost import shared_cost
from expunge.api.history_file import untold
from expunge.api.needs import HALF_MODELS, needs_halves
from expunge.attribution.combined import Combined
from expunge.attribution.fit import find
from expunge.engine.batches import endless
from expunge.engine.cost import Cost
from expunge.engine.descend import descend
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.fanout import one_thread
from expunge.fanout.runtime import Runtime
from expunge.methods import METHODS, Method
from expunge.methods import method as method_named
from expunge.problem import Problem
from expunge.rng import Draws
from expunge.training.from_recipe import retrain_units
from expunge.training.model_cache import ModelCache

TIMED_STEPS, TIMED_ROWS = 5, 64
# For a budget below one retraining: what came nearest to it in our benchmarks, then those that
# harm the retained rows least. Matching an oracle costs a retraining, dm-direct leaves the weights.
PREFERRED = ("dmm", "fine-tune", "gradient-ascent")
BECAUSE = {
    "dmm": "it came nearest to retraining in our benchmarks (docs/attribution.md)",
    "fine-tune": "it is the gentlest method that is so cheap, and may well not be enough",
    "gradient-ascent": "it is the cheapest that changes what the rows taught, and crude",
}


@dataclass(frozen=True)
class Price:
    """What one method would cost one model and one request."""

    method: Method
    own: Cost  # seconds from a short timing
    shared: dict[str, Any] | None  # as in audit.json: teachers or attribution
    reused: bool  # the shared part exists already and costs this request nothing
    relative: float | None  # all that this request pays, in retrainings; None: not known
    possible: str  # "" or why it has no price


@dataclass(frozen=True)
class Estimate:
    """Prices of all methods, and a recommendation."""

    prices: tuple[Price, ...]
    retraining: Cost | None  # one retraining; None where a Trainer does not say its epochs
    recommended: Method | None
    because: str


def estimate(
    problem: Problem,
    model: nn.Module,
    runtime: Runtime,
    *,
    half_models: int = HALF_MODELS,
    budget: float | None = None,
    method: Method | None = None,
    history: Path | None = None,
) -> Estimate:
    """Price every method for this forget set, without running any.

    Args:
        problem: with rows to forget.
        model: the trained model; a few steps of a copy are timed.
        runtime: its store may hold an attribution that makes dmm cheap.
        half_models: for methods that need predicted changes.
        budget: largest cost in retrainings that may be recommended.
        method: a method to be priced at other settings than its defaults.
        history: the folder where the model's history would lie; None: of some other place.

    Returns:
        Row units, seconds, and cost relative to one retraining, of each method; for one model
        and one request dmm is never recommended from half-data models that are yet to be made,
        but with them (attribution "combined") once they are.
    """
    if budget is not None and not budget > 0:
        raise BadInput(f"a budget of {budget}", expected="a share above 0", fix="e.g. --budget 0.1")
    rate = seconds_per_unit(problem, model, runtime.device)
    whole = retrain_units(problem)
    reused = _has_fit(problem, runtime, half_models)
    named = {} if method is None else {method.name: method}
    priced = [named.get(name) or kind() for name, kind in METHODS.items()]
    if reused:
        priced.append(method_named("dmm", attribution=Combined.name))
    why = [untold(history, one) if history else "" for one in priced]
    prices = tuple(
        _price(one, problem, half_models, rate, reused, lacks)
        for one, lacks in zip(priced, why, strict=True)
    )
    retraining = None if whole is None else Cost(whole // 3, whole // 3, whole * rate)
    chosen, because = _recommend(prices, problem, budget)
    return Estimate(prices, retraining, chosen, because)


def choose(
    problem: Problem,
    model: nn.Module,
    runtime: Runtime,
    *,
    half_models: int = HALF_MODELS,
    budget: float | None = None,
) -> Method:
    """The recommended method.

    Raises:
        BadInput: no method fits the budget.
    """
    found = estimate(problem, model, runtime, half_models=half_models, budget=budget)
    if found.recommended is None:
        raise BadInput(
            f"no method can be chosen: {found.because}",
            expected="a method within the budget",
            fix="name one with --method, or raise the budget",
        )
    return found.recommended


def seconds_per_unit(problem: Problem, model: nn.Module, device: str = "cpu") -> float:
    """Seconds a row unit of training this model, from a few steps of a copy on retained rows."""
    (copy,) = Ensemble.of(model).to(device).groups()
    draws = Draws((0, "timing"))
    task = problem.task

    def objective(module: Any, batch: Any) -> Any:
        return task.loss(task.outputs(module, batch), batch).mean()

    plan = endless(problem.retain, TIMED_ROWS, draws.of((0,)))
    planned = [next(plan).to(copy.device) for _ in range(2 * TIMED_STEPS)]

    def run(rows: list) -> Cost:
        return descend(
            copy,
            objective,
            ((batch,) for batch in problem.train.batches(rows)),
            steps=len(rows),
            optimizer=partial(torch.optim.SGD, lr=0.0),
            draws=draws,
        )

    with one_thread():
        run(planned[:TIMED_STEPS])  # the first steps allocate
        cost = run(planned[TIMED_STEPS:])
    return cost.seconds / cost.row_units


def _has_fit(problem: Problem, runtime: Runtime, half_models: int) -> bool:
    return (
        problem.recipe is not None and find(ModelCache(problem, runtime), half_models) is not None
    )


def _price(
    method: Method, problem: Problem, half_models: int, rate: float, reused: bool, lacks: str
) -> Price:
    whole = retrain_units(problem)
    if method.needs and problem.recipe is None:
        lacks = "the problem has no recipe or Trainer"
    elif "history" in method.needs and not problem.training.stepwise:
        lacks = "how models arose can be told of a Recipe only"
    elif method.needs and whole is None:
        lacks = "the Trainer has no attribute `epochs`"
    if lacks:
        return Price(method, Cost(), None, False, None, lacks)
    own = method.price(problem)
    own = replace(own, seconds=own.row_units * rate)
    shared = shared_cost(problem, method, half_models, None)
    reused = reused and needs_halves(method)
    now = shared_cost(problem, method, 0, None) if reused else shared
    paid = own.row_units + ((now["row_units"] or 0) if now else 0)
    return Price(method, own, shared, reused, paid / whole if whole else None, "")


def _recommend(
    prices: tuple[Price, ...], problem: Problem, budget: float | None
) -> tuple[Method | None, str]:
    """The method to take, and one sentence why."""
    by_name = {price.method.name: price for price in prices if not price.reused}
    known = next((price for price in prices if price.reused), None)
    retrain = by_name["retrain"]
    if retrain.relative is None:
        if budget is not None:
            return None, f"one retraining has no known price ({retrain.possible})"
        return by_name["fine-tune"].method, f"retraining cannot be priced ({retrain.possible})"
    if known and known.relative is not None and known.relative < min(budget or 1.0, 1.0):
        return known.method, (
            "its half-data models were made for an earlier request, so this one costs "
            f"{known.relative:.2g} of a retraining"
        )
    if budget is None or retrain.relative <= budget:
        return retrain.method, (
            "it is exact; name a --budget if retraining costs too much"
            if budget is None
            else f"it is exact, and its {retrain.relative:.2g} retrainings are within {budget:g}"
        )
    for name in PREFERRED:
        shorter = _within(by_name[name], problem, budget)
        if shorter is not None:
            return shorter, f"{BECAUSE[name]}; within {budget:g} of a retraining. Audit the result"
    return None, f"nothing that changes weights costs at most {budget:g} of a retraining"


def _within(price: Price, problem: Problem, limit: float) -> Method | None:
    """The method at its settings, or with fewer epochs or steps, so that all of it fits."""
    whole = retrain_units(problem)
    if whole is None or (price.method.needs and not problem.training.stepwise):
        return None  # the damping of an attribution follows from a Recipe
    length = next((f.name for f in fields(price.method) if f.name in ("epochs", "steps")), "")  # type: ignore[arg-type]
    longest = getattr(price.method, length) if length else 0

    def shorter(count: int) -> Method:
        return replace(price.method, **{length: count})  # type: ignore[type-var]

    def units(count: int) -> int:
        asked = shorter(count)
        shared = shared_cost(problem, asked, 0, None)
        return asked.price(problem).row_units + (shared["row_units"] if shared else 0)

    # longer costs more, so that the length is searched by halves
    fits = bisect_right(range(1, longest + 1), limit * whole, key=units)
    return shorter(fits) if fits else None
