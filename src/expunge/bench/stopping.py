"""The stopping-time figure: how likely oracles find each forgotten row while a method runs.

Source: Georgiev et al. 2024, arXiv 2410.23232, Figures 2 and 5: some rows are right long before
others, and methods that push all of them with one force overshoot the first while they wait for
the last.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from expunge import store
from expunge.api.collect_outputs import Job, jobs
from expunge.audit.evidence.folder import Evidence
from expunge.audit.metrics.stopping import likelihood, oracle_band, overshoots
from expunge.bench.runs import Run
from expunge.engine.answers import answers
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import Method, MethodInputs

FILE = "stopping.safetensors"  # beside bench.json
POINTS = 40  # looks kept of a run, at least, where it has as many steps


def watched(here: Run, methods: Mapping[str, Method]) -> dict[str, Tensor]:
    """Run each method on the first original of a run, looking on; kept in the store.

    Returns:
        "<label>": margins of the forgotten rows, (looks, rows) float32, and "<label> steps": the
        number of steps done at each look, (looks,) int64.

    Raises:
        BadInput: a method that does not descend step by step.
    """
    found = {}
    for label, method in methods.items():
        job = jobs(here.cache, here.panel, method, here.config.members, here.predictions)[0]
        key = store.key("watched", job=job.key, points=POINTS)
        if here.cache.runtime.store.load(key) is None:
            steps, seen = _looked(here, label, job)
            here.cache.runtime.store.save(key, {"steps": steps, "margins": seen}, {})
        tensors = here.cache.kept(key).tensors
        found |= {label: tensors["margins"], f"{label} steps": tensors["steps"]}
    return found


def read(folder: Path) -> dict[str, Tensor]:
    """What `watched` gave, from the folder of a benchmark; BadInput if missing or damaged."""
    path = folder / FILE
    try:
        return load(path.read_bytes())
    except (FileNotFoundError, SafetensorError) as error:
        raise BadInput(
            f"{path} is missing or damaged ({error})",
            expected="what was seen while methods ran, for the stopping-time figure",
            fix="give the whole folder that `expunge bench --out` wrote",
        ) from error


def judged(found: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Any]:
    """What the figure shows: "runs", label -> steps, loglik, overshoots; "band"; and "chance".

    Args:
        found: as `watched` gives it.
        evidence: of the run; the first of its originals is the one that ran.
    """
    truth = evidence.margins(evidence.oracle, "forget")[:]
    before = evidence.margins(evidence.original, "forget")[:1][0]
    runs = {}
    for label in (name for name in found if f"{name} steps" in found):
        seen = found[label].double()
        runs[label] = {
            "steps": found[f"{label} steps"].tolist(),
            "loglik": likelihood(seen[:, None], truth)[:, 0].tolist(),
            "overshoots": overshoots(seen, before, truth).tolist(),
        }
    return {"runs": runs, "band": list(oracle_band(truth)), "chance": _by_chance(truth, before)}


def _by_chance(truth: Tensor, before: Tensor) -> float:
    """Share of rows that a retrained model overshoots, each in turn against the others."""
    shares = []
    for k in range(len(truth)):
        others = truth[torch.arange(len(truth)) != k]
        shares.append(overshoots(truth[k : k + 1], before, others).double().mean())
    return float(torch.stack(shares).mean())


def _looked(here: Run, label: str, job: Job) -> tuple[Tensor, Tensor]:
    """Steps and margins at the looks of one run."""
    task, train, rows = here.problem.task, here.problem.train, here.problem.forget
    stride, last, seen = 1, 0, {}

    def look(_: Ensemble) -> Callable[[int, Ensemble], None]:
        def watch(done: int, group: Ensemble) -> None:
            nonlocal stride, last
            last = done
            if done % stride:
                return
            seen[done] = group.outputs(task, train, rows)[0]
            if len(seen) > 2 * POINTS:  # a method does not say how many steps it will take
                stride *= 2
                for step in [step for step in seen if step % stride]:
                    del seen[step]

        return watch

    teachers = _first(here, job.teacher, job) if job.teacher else None
    models = _first(here, job.original, job)
    change = job.prediction and job.prediction.on(models)
    given = MethodInputs(change, teachers, watch=look, history=job.history)
    result = job.method(here.problem, models, given, seed=here.seed)
    if len(seen) < 2:
        raise BadInput(
            f"{label} for the stopping-time figure",
            expected="a method that descends step by step",
            fix="name another method in [stopping], e.g. scrub or oracle-matching",
        )
    seen[last] = result.models.outputs(task, train, rows)[0]
    outputs = torch.stack(list(seen.values()))
    found = answers(task, train, rows, outputs)[1]
    return torch.tensor(list(seen)), found.float()


def _first(here: Run, key: str, job: Job) -> Ensemble:
    """The first model of a block alone."""
    block = here.cache.ensemble(key, job.ids)
    return Ensemble.of(next(block.modules()), job.ids[0]).to(here.cache.runtime.device)
