"""What models say on the panel: of a role's members, or of what methods made of the originals.

Everything goes through the store, block by block, so a killed run resumes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from expunge import store
from expunge.api.panel import Panel
from expunge.api.predictions import Prediction, Predictions
from expunge.engine.cost import Cost
from expunge.engine.ensemble import StorableModels
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime, named
from expunge.methods import Method, MethodInputs, settings
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History


class Failed(NamedTuple):
    """A method that could not be run with these settings."""

    why: str


class OutputBlocks(Sequence[Mapping[str, Tensor]]):
    """What models said on the panel, read from the store block by block, at each look.

    A block holds, by group, (members, rows, C), and "relearning" if the panel asks for it. All
    blocks of a role or of a method at once would need as much memory as all its models' outputs.
    """

    def __init__(self, cache: ModelCache, keys: Sequence[str]) -> None:
        self._cache, self._keys = cache, list(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place):  # type: ignore[override]
        return self._cache.kept(self._keys[place]).tensors

    def whole(self, name: str) -> Tensor | None:
        """One entry of all blocks, joined; None where blocks have no such entry."""
        found = [block[name] for block in self if name in block]
        return torch.cat(found) if found else None


class MethodOutputs:
    """What models that a method returned said, with what was spent.

    Attributes:
        outputs: block by block.
        changed: largest absolute change of a weight.
        reason: why nothing changed, where nothing did.
        claim_detail: what the claim rests on, of the first models.
        cost: of one model.
    """

    def __init__(self, outputs: OutputBlocks, facts: Sequence[dict[str, Any]]) -> None:
        self.outputs = outputs
        self.changed = max(block["changed"] for block in facts)
        self.reason = facts[0]["reason"]
        self.claim_detail = facts[0]["claim_detail"]
        costs = [(Cost(**block["cost"]), block["members"]) for block in facts]
        members = sum(count for _, count in costs)
        seconds = sum(cost.seconds * count for cost, count in costs) / members
        self.cost = replace(costs[0][0], seconds=seconds)


@dataclass(frozen=True)
class Job:
    """One block of originals and what is to be done with it."""

    cache: ModelCache
    panel: Panel
    method: Method
    ids: tuple[int, ...]
    original: str  # key of the block
    teacher: str  # key of its teachers, or ""
    prediction: Prediction | None
    key: str  # of the result

    @property
    def history(self) -> History | None:
        """How the originals of this block arose, where the method needs to know."""
        return self.cache.history(self.ids) if "history" in self.method.needs else None


def collect_outputs(
    cache: ModelCache, panel: Panel, counts: Mapping[str, int]
) -> dict[str, OutputBlocks]:
    """What the panel reads of each role's first members, by role."""
    shape = panel.digest(cache)
    tasks, keys = {}, {role: [] for role in counts}
    for role, count in counts.items():
        for made, ids in zip(cache.keys(role, count), cache.blocks(count), strict=True):
            key = store.key("observed", models=made, panel=shape)
            keys[role].append(key)
            tasks[key] = (cache, panel, role, ids, made, key)
    if missing := cache.runtime.missing(tasks):
        _ = cache.template  # made here once, and not by every process
        sizes = {key: len(task[3]) for key, task in missing.items()}
        names = {key: f"reading {named(task[2], task[3])}" for key, task in missing.items()}
        cache.runtime.make(_observe_block, missing, "Reading outputs", sizes, names)
    return {role: OutputBlocks(cache, found) for role, found in keys.items()}


def jobs(
    cache: ModelCache, panel: Panel, method: Method, members: int, predictions: Predictions
) -> list[Job]:
    """The blocks of the first originals for one method."""
    originals, blocks = cache.keys("original", members), cache.blocks(members)
    teaching = "teachers" in method.needs
    teachers = cache.keys("teacher", members) if teaching else [""] * len(originals)
    predicted = predictions.of(method)
    made_by = {
        "method": method.name,
        "settings": settings(method),
        "change": "" if predicted is None else predicted.digest,
        "forget": row_digest(cache.problem.forget),
        "panel": panel.digest(cache),
        "seed": cache.runtime.seed,
    }
    _ = cache.template  # made here once, and not by every process
    return [
        Job(
            *(cache, panel, method, ids, original, teacher, predicted),
            store.key("unlearned", original=original, teacher=teacher, **made_by),
        )
        for original, teacher, ids in zip(originals, teachers, blocks, strict=True)
    ]


def run_jobs(runtime: Runtime, todo: Sequence[Job], *, tolerant: bool = False) -> None:
    """Do what the store does not hold yet, spread over processes.

    Args:
        runtime: processes and store.
        todo: of any caches of this runtime's store.
        tolerant: keep a refusal (a run that diverged) as a result instead of raising it.
    """
    tasks = {job.key: (job, tolerant) for job in todo}
    sizes = {job.key: len(job.ids) for job in todo}
    names = {job.key: f"{job.method.name} of {named('original', job.ids)}" for job in todo}
    best = todo[0].cache.processes if todo else None
    runtime.make(_unlearn_block, tasks, "Forgetting and reading", sizes, names, best)


def result_of(done: Sequence[Job]) -> MethodOutputs | Failed:
    """What the blocks of one method gave."""
    keys = [job.key for job in done]
    facts = [done[0].cache.kept(key).facts for key in keys]
    refused = [block["failed"] for block in facts if "failed" in block]
    return (
        Failed(refused[0]) if refused else MethodOutputs(OutputBlocks(done[0].cache, keys), facts)
    )


def unlearn(
    cache: ModelCache,
    panel: Panel,
    methods: Mapping[str, Method],
    members: int,
    predictions: Predictions,
) -> dict[str, MethodOutputs]:
    """Run each method on the first originals, block by block; what the panel reads by name.

    Raises:
        BadInput: a method refuses its work, or its models diverge.
    """
    todo = {name: jobs(cache, panel, one, members, predictions) for name, one in methods.items()}
    run_jobs(cache.runtime, [job for own in todo.values() for job in own])
    found = {}
    for name, own in todo.items():
        result = result_of(own)
        if isinstance(result, Failed):
            raise BadInput(result.why, expected="a run that ends well", fix="change its settings")
        found[name] = result
    return found


def _observe_block(
    cache: ModelCache, panel: Panel, role: str, ids: tuple[int, ...], made: str, key: str
) -> None:
    found = panel.read(cache.problem, _block(cache, made, ids), cache.runtime.seed)
    cache.runtime.store.save(key, found, {"role": role, "members": len(ids)})


def _unlearn_block(job: Job, tolerant: bool) -> None:
    start, cache = perf_counter(), job.cache
    models: Any = _block(cache, job.original, job.ids)
    teachers = _block(cache, job.teacher, job.ids) if job.teacher else None
    seed = cache.runtime.seed
    try:
        keep = cache.runtime.store, job.original
        change = job.prediction and job.prediction.on(models, keep)
        given = MethodInputs(change, teachers, history=job.history)
        result = job.method(cache.problem, models, given, seed=seed)
        found = job.panel.read(cache.problem, result.models, seed)
    except BadInput as error:
        if tolerant:
            cache.runtime.store.save(job.key, {}, {"failed": f"{job.method.name}: {error}"})
            return
        raise BadInput(
            f"{job.method.name}: {error.given}", expected=error.expected, fix=error.fix
        ) from error
    facts = {
        "method": job.method.name,
        "members": len(job.ids),
        "cost": result.cost.__dict__,
        "changed": result.changed,
        "reason": result.reason,
        "claim_detail": dict(result.claim_detail),
        "seconds": perf_counter() - start,
    }
    cache.runtime.store.save(job.key, found, facts)


def _block(cache: ModelCache, key: str, ids: tuple[int, ...]) -> StorableModels:
    return cache.block(key, ids).to(cache.runtime.device)


def row_digest(rows: Tensor) -> str:
    """The SHA-256 of row numbers or hashes."""
    return hashlib.sha256(rows.contiguous().numpy().tobytes()).hexdigest()
