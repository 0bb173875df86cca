"""verification_error(): how well models of a recipe can be unlearned, before any request.

Source: Thudi et al. 2022, arXiv 2109.13398.
"""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.api.collect_outputs import row_digest
from expunge.api.panel import Panel
from expunge.api.provenance import problem_facts, run_facts
from expunge.api.require_fit import require_recipe_fit
from expunge.api.tracking import FORMS, VERSION, between, facts_of, mean_rates, with_forms
from expunge.audit.metrics.correlation import correlation
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime, named
from expunge.probes.unrolling import HESSIAN_ROWS, Stage, curvature, evenly, unrolled
from expunge.problem import Problem
from expunge.report.figure.unrolling import against, along
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History

LOOKS = 8


def verification_error(
    problem: Problem,
    *,
    runtime: Runtime,
    members: int | Sequence[int] = 10,
    at: Sequence[int] | None = None,
    measurements: int = LOOKS,
    hessian_rows: int = HESSIAN_ROWS,
    out: Path | str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Measure verification error and unlearning error along the training of some originals.

    Each original is trained on all rows, and naively without the forgotten ones; what is left
    between the two after single-gradient unlearning is the verification error, which the unlearning
    error is to foretell. What is measured is kept in the runtime's store.

    Args:
        problem: with a Recipe, and with rows to forget.
        runtime: store, seed, processes, device.
        members: how many originals, or their numbers.
        at: numbers of steps after which to look.
        measurements: without `at`, how often, evenly over the training.
        hessian_rows: training rows for the Hessian; 0: all.
        out: folder for verification_error.json and two figures; None writes nothing.
        command: what repeats this run.

    Returns:
        The content of verification_error.json: "measurements" has, for each number of steps, lists
        over members of "verification" (single-gradient) and "nothing" (the original as it is), both
        L2 distances to naive retraining; of the factors "distance", "eigenvalue", "sigma" (mean
        size of the eigenvalue so far) and "rate"; of "products", the Hessian's products that the
        eigenvalue took, and its relative "residual", beyond 0.01 where these did not suffice; of
        the unlearning error's forms "strict", "paper" and "code"; of "spread", the mean standard
        deviation of the logits on judged rows; and of "accuracy" there (%).
        "layers" has the verification error of each parameter at the end, "correlation" that of each
        form with the verification error.

    Raises:
        BadInput: no rows to forget, no Recipe, no members or one of them twice, numbers of steps
            that the training does not have; models that do not fit the problem.
    """
    start = perf_counter()
    if not len(problem.forget):
        raise BadInput("there are no rows to forget", expected="at least one row", fix="name a row")
    ids = list(range(members)) if isinstance(members, int) else list(members)
    if not ids or len(set(ids)) < len(ids) or min(ids) < 0:
        raise BadInput(
            f"originals {ids}",
            expected="at least one, each once, counted from 0",
            fix="give how many, or their numbers",
        )
    cache = ModelCache(problem, runtime)
    steps = History(problem, (), runtime.seed).steps
    at = _places(at, measurements, steps)
    require_recipe_fit(cache)
    if out is not None:
        store.require_writable(Path(out))
    made_by = {
        "recipe": cache.recipe_id,
        "rows": row_digest(problem.present_rows),
        "content": row_digest(cache.content[problem.present_rows]),
        "forget": row_digest(problem.forget),
        "judge": cache.eval_data_hash,
        "seed": runtime.seed,
        "device": torch.device(runtime.device).type,
        "at": at,
        "hessian_rows": hessian_rows,
        "version": VERSION,
    }
    keys = [store.key("unrolled", member=member, **made_by) for member in ids]
    tasks = {
        key: (cache, member, at, hessian_rows, key) for member, key in zip(ids, keys, strict=True)
    }
    sizes = dict.fromkeys(keys, 1)
    names = {key: f"measuring {named('original', [n])}" for key, n in zip(keys, ids, strict=True)}
    runtime.make(_measure_member, tasks, "Unrolling trainings", sizes, names)
    found = [cache.kept(key) for key in keys]
    content = {
        "problem": {**problem_facts(problem, runtime.progress), "members": len(ids)},
        "measurements": [_look(k, steps, found) for k, steps in enumerate(at)],
        "layers": _layers(found),
        "run": run_facts(command, runtime.seed, perf_counter() - start, recipe=cache.recipe_id),
    }
    content["correlation"] = {
        form: correlation(*_points(content["measurements"], form)).__dict__ for form in FORMS
    }
    if out is not None:
        store.write_json(Path(out) / "verification_error.json", content)
        store.write_bytes(Path(out) / "along.svg", along(content["measurements"]).encode())
        store.write_bytes(Path(out) / "against.svg", against(content["measurements"]).encode())
    return content


def _places(at: Sequence[int] | None, measurements: int, steps: int) -> list[int]:
    """Numbers of steps in rising order, each once; BadInput where the training has fewer."""
    if at is None and measurements >= 1:
        return evenly(steps, measurements)
    at = at or []
    wrong = [place for place in at if not 1 <= place <= steps]
    if wrong or not at:
        raise BadInput(
            f"looks after {wrong[0] if wrong else 'no'} steps",
            expected=f"numbers from 1 to {steps}, the steps of one training",
            fix="correct them, or leave them out, with at least one look",
        )
    return sorted(set(at))


def _measure_member(
    cache: ModelCache, member: int, at: list[int], hessian_rows: int, key: str
) -> None:
    problem, runtime = cache.problem, cache.runtime
    told = History(problem, (member,), runtime.seed, device=runtime.device)
    panel = Panel.of(problem)
    layers: dict[str, Tensor] = {}
    start = told.start()
    begin = {name: w.detach() for name, w in start.weights().items()}
    measurements = []
    for stage in unrolled(told, problem.forget, at):
        seen = _measure(stage, problem, panel, begin)
        error = between(stage.unlearned, stage.retrained)
        seen["verification"], layers = float(error.whole), error.layers
        measurements.append(
            seen | facts_of(curvature(problem, stage.model, runtime.seed, hessian_rows))
        )
    found = with_forms(measurements, mean_rates(told, start))
    tensors = {n: torch.tensor([one[n] for one in found]).double() for n in found[0]}
    tensors |= {f"layer/{name}": value for name, value in layers.items()}
    runtime.store.save(key, tensors, {"member": member})


def _measure(stage: Stage, problem: Problem, panel: Panel, begin: dict[str, Tensor]) -> dict:
    """What the weights as they are and the judged rows say at one stage."""
    judged = problem.task, panel.data(problem, "test"), panel.rows["test"]
    outputs = Ensemble.of(stage.model).outputs(*judged)[0]
    found = {
        "steps": stage.steps,
        "nothing": float(between(stage.original, stage.retrained).whole),
        "distance": float(between(stage.original, begin).whole),
        "spread": float(outputs.double().std(-1, correction=0).mean()),
    }
    if problem.task.kind == "classification":
        truth = panel.targets(problem)["test"]
        found["accuracy"] = 100 * float((outputs.argmax(-1) == truth).double().mean())
    return found


def _look(k: int, steps: int, found: list) -> dict[str, Any]:
    """What all members say after so many steps."""
    names = [n for n in found[0].tensors if not n.startswith("layer/") and n != "steps"]
    return {"steps": steps} | {n: [float(one.tensors[n][k]) for one in found] for n in names}


def _layers(found: list) -> dict[str, list[float]]:
    names = [name for name in found[0].tensors if name.startswith("layer/")]
    return {n.removeprefix("layer/"): [float(one.tensors[n]) for one in found] for n in names}


def _points(measurements: list[dict[str, Any]], form: str) -> tuple[Tensor, Tensor, Tensor]:
    """A form against the verification error over members and looks, and each point's member."""
    x, y = (torch.tensor([look[name] for look in measurements]) for name in (form, "verification"))
    member = torch.arange(x.shape[1]).expand_as(x)
    return x.flatten(), y.flatten(), member.flatten()
