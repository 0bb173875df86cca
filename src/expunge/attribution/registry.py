"""The kinds of attribution by name, and how a name with settings is read."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from expunge.attribution.attribution import Attribution
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import Difference
from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.lasso import Lasso
from expunge.attribution.linearised import Linearised
from expunge.attribution.ridge import Ridge
from expunge.attribution.size_correction import SizeCorrection
from expunge.attribution.split_half import PROBED
from expunge.attribution.trak import Trak
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput, nearest
from expunge.problem import Problem

DATAMODELS, COMBINED = "datamodels", "combined"  # the second is datamodels around linearised
# from half-data models alone: the same prediction for every model
HALVES: dict[str, Callable[..., Attribution]] = {
    DATAMODELS: Datamodels,
    "difference": Difference,
    "ridge": Ridge,
    "lasso": Lasso,
}
# from the trained models themselves: each has its own prediction
OWN: dict[str, Callable[..., Attribution]] = {
    "linearised": Linearised,
    "influence": partial(Linearised, curvature="all"),
    "ek-fac": partial(Linearised, iterations=0),
    "trak": Trak,
}
MODELS = "models"  # a setting of all that are made from half-data models
KINDS: dict[str, str] = {
    "linearised": "retraining linearised at the model's own weights; no other model is trained",
    "influence": "the same with the curvature of all rows, as classical influence functions have",
    "ek-fac": "linearised, with the curvature solved by EK-FAC alone",
    "trak": "one Newton step on randomly projected gradients of margins",
    DATAMODELS: "half-data models: difference of means, trusted as far as it repeats",
    "difference": "half-data models: difference of means as it is",
    "ridge": "half-data models: ridge regression on the rows trained on",
    "lasso": "half-data models: the lasso, as published; a second an output",
    COMBINED: "the linearised prediction, corrected by half-data models",
}
VERSION = 4  # part of keys; to be raised when a change makes predictions differ
GIVEN = {"problem", "models", "seed", "halves", "base"}  # not settings


def parse(named: str) -> tuple[str, dict[str, Any]]:
    """The kind and settings of e.g. "linearised" or "linearised:damping=0.01,samples=500".

    Raises:
        BadInput: an unknown kind or setting, with the nearest known one; a value that is no number.
    """
    kind, _, rest = named.partition(":")
    if kind not in KINDS:
        raise BadInput(
            f"unknown attribution '{kind}'{nearest(kind, KINDS)}",
            expected=f"one of {', '.join(KINDS)}, or a file of `expunge attribute`",
            fix="correct the name, or the path",
        )
    known = settings_of(kind)
    chosen: dict[str, Any] = {}
    for word in rest.split(",") if rest else []:
        name, _, value = word.partition("=")
        if name not in known:
            raise BadInput(
                f"attribution '{kind}' has no setting '{name}'{nearest(name, known)}",
                expected=f"one of {', '.join(known)}" if known else "no settings at all",
                fix=f"write e.g. {kind}:{next(iter(known), 'NAME')}=VALUE, or leave it out",
            )
        if name in chosen:
            raise BadInput(
                f"setting '{name}' of attribution '{kind}' is named twice",
                expected="each setting once",
                fix=f"leave out {name}={value} or the other",
            )
        try:
            chosen[name] = int(value) if isinstance(known[name], int) else float(value)
        except ValueError:
            whole = "a whole number" if isinstance(known[name], int) else "a number"
            raise BadInput(
                f"{name}={value} of attribution '{kind}'", expected=whole, fix="correct it"
            ) from None
    return kind, chosen


def settings_of(kind: str) -> dict[str, Any]:
    """The numeric settings of a kind, with their defaults.

    Those made from half-data models may use fewer than there are: models=250; 0 takes all.
    """
    made = OWN.get("linearised" if kind == COMBINED else kind) or HALVES[kind]
    fields = inspect.signature(made).parameters
    fewer = {} if kind in OWN else {MODELS: 0}
    return fewer | {
        name: field.default
        for name, field in fields.items()
        if name not in GIVEN and not isinstance(field.default, str)
    }


def from_halves(named: str) -> bool:
    """Whether an attribution of this name needs half-data models."""
    return parse(named)[0] not in OWN


def from_models(named: str) -> bool:
    """Whether an attribution of this name reads the trained models themselves."""
    return parse(named)[0] not in HALVES


def price(named: str, problem: Problem, rows: int) -> Cost:
    """What an attribution that reads the model reads of one, for this forget set and so many rows.

    Half-data models are not in it.
    """
    kind, chosen = parse(named)
    chosen.pop(MODELS, None)
    nothing: Any = None  # models are not looked at for a price
    if kind != COMBINED:
        return OWN[kind](problem, nothing, **chosen).price(rows)  # type: ignore[attr-defined]
    rows += len(problem.forget) + min(PROBED, len(problem.retain))
    return SizeCorrection(problem, nothing, **chosen).price(rows)


def whole_table(named: str) -> bool:
    """Whether the change of every row is worth making at once: one for all models, and cheap."""
    return not from_models(named) and parse(named)[0] != "lasso"


def damped(named: str) -> bool:
    """Whether an attribution is damped as the recipe implies."""
    kind, chosen = parse(named)
    return from_models(named) and kind != "trak" and "damping" not in chosen


def attributor(
    named: str, problem: Problem, models: Ensemble | None, halves: HalfDataModels | None, seed: int
) -> Attribution:
    """An attribution by name; what it does not need may be None."""
    kind, chosen = parse(named)
    if kind in OWN:
        return OWN[kind](problem, models, seed=seed, **chosen)
    assert halves is not None, "checked by the api: half-data models are made before"
    halves = halves.first(chosen.pop(MODELS, 0))
    if kind not in (DATAMODELS, COMBINED):
        return HALVES[kind](halves, **chosen)
    # trust is measured on rows that are still there: those forgotten earlier are not to be read
    halves = replace(halves, present=halves.present & problem.present_mask)
    if kind == DATAMODELS:
        return Datamodels(halves, **chosen)
    assert models is not None, "checked by the api: it predicts for models"
    return Datamodels(halves, SizeCorrection(problem, models, seed=seed, **chosen))
