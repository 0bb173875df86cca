"""forget(): one model without the given rows, and what it cost."""

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import nn

from expunge.api.attribution_cost import shared_cost
from expunge.api.card import (
    Card,
    after_card,
    load_model,
    people_facts,
    weights_digest,
    write_model,
)
from expunge.api.estimate import choose
from expunge.api.history_file import needs_recording, read_history, unknown_history
from expunge.api.needs import HALF_MODELS, Needs, from_file
from expunge.api.predictions import Predictions
from expunge.api.provenance import as_list, cost_facts, run_facts
from expunge.api.require_fit import require_fit, require_methods, require_weights
from expunge.api.trained import Trained
from expunge.attribution.fit import fit
from expunge.data.progress import with_progress
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble, independent
from expunge.errors import BadInput
from expunge.fanout import one_thread
from expunge.fanout.runtime import Runtime
from expunge.methods import Method, MethodInputs, masked, method, settings
from expunge.methods.method import Claim
from expunge.problem import Problem
from expunge.rng import seeded
from expunge.store import Store
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History

STORE = Path(".expunge")  # where models that were made for a request are kept, unless said


@dataclass(frozen=True)
class Forgotten:
    """A model without some rows."""

    model: nn.Module
    cost: Cost
    problem: Problem  # as it is now: the forgotten rows are no longer present
    card: Card

    def save(self, folder: Path | str) -> Path:
        """Write `model.safetensors` and its card into a folder; returns the path of the weights."""
        return write_model(self.model, self.card, Path(folder))


def forget(
    model: "nn.Module | Path | str | Trained | Forgotten",
    problem: Problem,
    rows: Any = None,
    *,
    ids: Any = None,
    method: str | Method | None = None,  # noqa: A002 (the field's word)
    seed: int | None = None,
    runtime: Runtime | None = None,
    device: str | None = None,
    half_models: int = HALF_MODELS,
    budget: float | None = None,
    mask: str = "",
    build: Any = None,
    history: History | Path | str | None = None,
    command: str = "",
    **chosen: Any,
) -> Forgotten:
    """Forget training rows.

    Args:
        model: the trained module (not changed), a result of `train_model` or of an earlier request,
            or a path of weights (`.safetensors`, or `.pt` with a state dict). An earlier result,
            and the card beside a path, say which rows are gone already; a bare module does not.
        problem: the data and task; with a recipe or Trainer where the method needs one.
        rows: row numbers or a bool mask.
        ids: record ids instead of rows: all rows of these persons that the model was trained on.
        method: a name of `expunge methods`, or a method; None: chosen by cost, within `budget`.
        seed: decides every draw; default the runtime's.
        runtime: where teachers and half-data models are made and kept; default `.expunge`.
        device: where it runs; default the runtime's.
        half_models: for methods that need predicted changes.
        budget: largest cost as a share of one retraining, where no method is named.
        mask: "saliency:SHARE" moves only that share of the weights, those that the forgotten rows'
            loss depends on most; "" leaves all weights free.
        build: makes an untrained model, where `model` is a path and the problem has no Recipe.
        history: how the model was trained, or the folder that `train_model` wrote, for methods that
            need it; default what lies beside `model`, or came with it.
        command: what repeats this run, for the card.
        chosen: settings of the method, e.g. lr=0.01.

    Returns:
        The new module, the cost paid, and a card; `.save(folder)` writes them.

    Raises:
        BadInput: see `Problem.forgetting`; an unknown method; a need that the problem cannot meet;
            a method that changes no weights; outputs that do not fit the task.
    """
    start, named = perf_counter(), model
    model, card = as_module(model, problem, build)
    problem = after_card(problem, card).forgetting(rows, ids=ids)
    if not len(problem.forget):
        raise BadInput("there are no rows to forget", expected="at least one row", fix="name a row")
    runtime = chosen_workshop(runtime, seed, device)
    seed, device = runtime.seed, runtime.device
    require_weights(model)
    with one_thread():
        require_fit(problem, Ensemble.of(model).to(device))
    cache = ModelCache(problem, runtime)
    runs = _resolve(method, problem, model, runtime, half_models, budget, chosen)
    runs, fitted = from_file(runs, cache)
    runs = masked(runs, mask)
    if runs.claim == Claim.OUTPUTS_ONLY:
        raise BadInput(
            f"{runs.name} corrects answers and leaves the weights as they are",
            expected="a method that returns a model",
            fix="use dmm, which teaches the model the same predicted answers",
        )
    require_methods(problem, [runs])
    needs = Needs.of(problem, [runs])
    told = None
    if "history" in runs.needs:
        told = _history(runs, history, named, None if card else model, problem, runtime)
    if needs.halves or needs.teachers or "recipe" in runs.needs:
        _ = cache.group  # checks once that the training depends on its seed
    if needs.halves and fitted is None:
        fitted = fit(cache, half_models)
    prediction = Predictions(problem, fitted, seed).of(runs)
    teachers = cache.models("teacher", 1).to(device) if needs.teachers else None
    models = Ensemble.of(independent(model), told.ids[0] if told else 0).to(device)
    reads = runs.price(problem).forward_rows // getattr(runs, "forwards", 1)
    shown = runtime.progress
    if "recipe" in runs.needs and not problem.training.stepwise:
        shown = False  # a Trainer reads the data in its own way, and may show how far it is
    with one_thread():
        change = prediction and prediction.on(models, progress=shown)
        given = MethodInputs(change=change, teachers=teachers, history=told)
        with with_progress(problem.train, "Forgetting, rows", reads, shown) as train:
            result = runs(replace(problem, train=train), models, given, seed=seed)
    if not isinstance(result.models, Ensemble):
        raise BadInput(
            f"{runs.name} with these settings returns no model of this architecture",
            expected="a model that can be saved",
            fix="leave --keep-class out, which is for comparison with published tables",
        )
    (unlearned,) = result.models.modules()
    unlearned.zero_grad(set_to_none=True)
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in unlearned.named_modules():
        module.training = modes.get(name, model.training)
    if result.changed == 0.0 and not result.reason:
        raise BadInput(
            f"{runs.name} changed no weight",
            expected="a model that differs from the one given",
            fix="raise the learning rate or the number of steps",
        )
    made = Card(
        parent=weights_digest(model),
        weights=weights_digest(unlearned),
        forgotten=as_list(problem.forget),
        forgotten_before=as_list((~problem.present_mask).nonzero().squeeze(-1)),
        method=runs.name,
        claim=str(runs.claim),
        claim_detail=dict(result.claim_detail),
        settings=settings(runs),
        seed=seed,
        changed=result.changed,
        reason=result.reason,
        cost=cost_facts(result.cost, problem),
        shared_cost=shared_cost(
            problem, runs, fitted.count if fitted else half_models, fitted.one if fitted else None
        ),
        problem=problem.name,
        run=run_facts(command, seed, perf_counter() - start),
        people=people_facts(problem),
    )
    return Forgotten(unlearned, result.cost, problem.without(problem.forget), made)


def chosen_workshop(runtime: Runtime | None, seed: int | None, device: str | None) -> Runtime:
    """The runtime given, or one with the store `.expunge`; a seed or device goes before."""
    runtime = runtime or Runtime(Store(STORE))
    return replace(
        runtime,
        seed=runtime.seed if seed is None else seed,
        device=runtime.device if device is None else device,
    )


def _history(
    method: Method,
    given: History | Path | str | None,
    named: Any,
    model: nn.Module | None,
    problem: Problem,
    runtime: Runtime,
) -> History:
    """How the model arose: as given, as it came with the model, or from a file beside it."""
    if given is None and isinstance(named, Trained):
        given = named.history
    if given is None and isinstance(named, Path | str):
        given = Path(named).parent
    if given is None:
        raise unknown_history(f"{method.name} needs to know how the model was trained")
    if not isinstance(given, History):
        given = read_history(Path(given), problem, runtime, model)
    if len(given.ids) != 1:
        raise BadInput(
            f"the history of {len(given.ids)} models",
            expected="that of the one model that is to forget",
            fix="name its member: history.of([0])",
        )
    if needs_recording(method) and given.recording is None:
        raise BadInput(
            f"{method.name}, and no recording of what the steps of the training changed",
            expected="a model trained with `expunge train --record`",
            fix="train it so, or choose single-gradient, which needs no recording",
        )
    return given


def as_module(
    model: nn.Module | Path | str | Trained | Forgotten, problem: Problem, build: Any
) -> tuple[nn.Module, Card | None]:
    """The module itself, or weights from a path in a newly built one, with their card."""
    if isinstance(model, Forgotten):
        return model.model, model.card
    if isinstance(model, Trained):
        return model.model, None
    if isinstance(model, nn.Module):
        return model, None
    build = build or getattr(problem.recipe, "build", None)
    if build is None:
        raise BadInput(
            f"weights at {model}, but no way to build the model they belong to",
            expected="a function that returns the untrained model",
            fix="pass build=, or define `build` in the problem file",
        )
    with seeded(0):
        template = build()
    return load_model(Path(model), template)


def _resolve(
    named: str | Method | None,
    problem: Problem,
    model: nn.Module,
    runtime: Runtime,
    half_models: int,
    budget: float | None,
    chosen: dict[str, Any],
) -> Method:
    if named is None:
        if chosen:
            raise BadInput(
                f"settings {', '.join(chosen)} without a method",
                expected="a method that they belong to",
                fix="name the method too",
            )
        return choose(problem, model, runtime, half_models=half_models, budget=budget)
    if budget is not None:
        raise BadInput(
            "a method and a budget",
            expected="one of them: a budget chooses the method",
            fix="leave one out; the settings of a method decide what it costs",
        )
    if isinstance(named, str):
        return method(named, **chosen)
    return method(named.name, **{**settings(named), **chosen}) if chosen else named
