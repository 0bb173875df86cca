"""Tracking: the unlearning error along one training, measured while it runs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.audit.metrics.unlearning_error import unlearning_error
from expunge.audit.metrics.verification_error import Verification, verification_error
from expunge.curvature.point import Point, Weights
from expunge.curvature.spectrum import Spectrum
from expunge.engine.ensemble import Ensemble
from expunge.probes.unrolling import curvature, evenly
from expunge.report.figure.unrolling import tracked
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History

VERSION = 2  # raised when what is measured changes
FORMS = ("strict", "paper", "code")


def between(here: Weights, there: Weights) -> Verification:
    """How far the weights of one model are from those of another."""
    lone = ({name: w[None] for name, w in side.items()} for side in (here, there))
    return verification_error(*lone)


def facts_of(found: Spectrum) -> dict[str, float]:
    """What is kept of the Hessian: a residual, relative to the value, tells if it converged."""
    relative = found.residual / abs(found.value) if found.value else 0.0
    return {"eigenvalue": found.value, "residual": relative, "products": found.products}


def mean_rates(history: History, models: Ensemble) -> Tensor:
    """The learning rate of each step, mean over the parameters, float64, (steps,)."""
    full, factors = history.rates(models)
    return factors * sum(full.values()) / len(full)


def with_forms(measurements: list[dict[str, Any]], rates: Tensor) -> list[dict[str, Any]]:
    """The looks along one training with the forms of the unlearning error and "sigma".

    Sigma is the mean over the looks so far, as theory has it.

    Args:
        measurements: with "steps", "distance" and "eigenvalue", in rising order of steps.
        rates: as `mean_rates` gives them.
    """
    found, sizes = [], []
    for one in measurements:
        sizes.append(abs(one["eigenvalue"]))
        sigma = sum(sizes) / len(sizes)
        error = unlearning_error(
            torch.tensor(one["distance"]), torch.tensor(sigma), rates[: one["steps"]]
        )
        forms = {form: float(getattr(error, form)) for form in FORMS}
        found.append({**one, "sigma": sigma, "rate": error.rate, **forms})
    return found


Told = Callable[[dict[str, Any]], None]  # of a look, as soon as it is made


class Tracker:
    """Looks on while one model is trained; every measurement is kept as soon as it is made."""

    def __init__(
        self,
        cache: ModelCache,
        history: History,
        made_by: dict[str, Any],
        measurements: int,
        hessian_rows: int,
        told: Told = lambda one: None,
    ) -> None:
        self.cache, self.rows, self.told = cache, hessian_rows, told
        self.steps = evenly(history.steps, measurements)
        start = history.start()
        self.start = {name: w.detach().clone() for name, w in start.weights().items()}
        self.rates = mean_rates(history, start)
        self.made_by = {**made_by, "hessian_rows": hessian_rows}

    def look(self, step: int, models: Ensemble) -> None:
        """See `descend`: `step` steps are done."""
        if step not in self.steps:
            return
        if self.cache.runtime.store.load(self._key(step)) is None:
            self._measure(step, models)
        self.told(self._measured(step)[-1])

    def content(self) -> dict[str, Any]:
        """unlearning_error.json: by look the factors and the forms."""
        return {"measurements": self._measured(self.steps[-1]), "hessian_rows": self.rows}

    def figure(self, content: dict[str, Any]) -> str:
        """The strict form and its factors by steps, SVG."""
        return tracked(content["measurements"])

    def _measured(self, last: int) -> list[dict[str, Any]]:
        found = [self.cache.kept(self._key(step)).facts for step in self.steps if step <= last]
        return with_forms(found, self.rates)

    def _measure(self, step: int, models: Ensemble) -> None:
        problem, runtime = self.cache.problem, self.cache.runtime
        here = Point(problem.task, problem.served(), models.template)
        found = curvature(problem, models.template, runtime.seed, self.rows)
        facts = {
            "steps": step,
            "distance": float(between(here.weights, self.start).whole),
            **facts_of(found),
        }
        runtime.store.save(self._key(step), {}, facts)

    def _key(self, step: int) -> str:
        return store.key("tracked", step=step, version=VERSION, **self.made_by)
