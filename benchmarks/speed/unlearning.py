"""How long does unlearning a hundred originals take at once, against one after another?

Practice is to call a method on one model after another, here `method(problem, model)` in one
process with one torch thread. This package runs the same method on the same originals in groups
by vmap, a process a core (`unlearn`, as `compare` and `bench` do), every result written to a
store. Both read what the unlearned models output on the same rows. Timed in turn, ROUNDS times;
intervals are 95 %, by Student's t over the logarithms of the rounds' ratios.

Claims: the time a model at once, relative to one after another, is below one half for each method:
more than two cores alone would give. Beside them stands how far apart the outputs are that the two
ways end with, which is rounding, magnified by training.

Run: python -m benchmarks.speed.unlearning (six minutes on two idle cores).
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks import measured, result
from expunge.api.collect_outputs import unlearn
from expunge.api.panel import Panel
from expunge.api.predictions import Predictions
from expunge.engine.ensemble import Ensemble
from expunge.fanout import one_thread
from expunge.fanout.runtime import Runtime
from expunge.methods import Method, MethodInputs, method
from expunge.store import Store
from expunge.training.model_cache import ModelCache
from expunge.zoo.digits import digits, unusual_handwriting

ROUNDS = 4
CORES = 2
NAMES = ("fine-tune", "random-label", "scrub", "oracle-matching")
MEMBERS, ALONE = 100, 8  # originals unlearned at once, and one after another, in a round
LIMIT = 1 / CORES


def main() -> None:
    flags = result.arguments("unlearning_speed")
    members, alone, rounds = (10, 2, 2) if flags.quick else (MEMBERS, ALONE, ROUNDS)
    names = NAMES[:1] if flags.quick else NAMES
    seconds: dict[str, dict[str, list[float]]] = {name: {"alone": [], "ours": []} for name in names}
    apart: dict[str, list[float]] = {name: [] for name in names}
    with TemporaryDirectory() as folder:
        problem = digits()
        problem = problem.forgetting(unusual_handwriting(problem))
        store = Store(Path(folder))
        for turn in range(rounds):
            cache = ModelCache(problem, Runtime(store, seed=turn, jobs=CORES, progress=False))
            cache.make({"original": members, "teacher": members})  # starts the processes, too
            for name in names:
                one, some = one_by_one(cache, method(name), range(alone))
                many, all_ = at_once(cache, method(name), members)
                seconds[name]["alone"].append(one / alone)
                seconds[name]["ours"].append(many / members)
                apart[name].append(float((some - all_[:alone]).abs().max()))
                print(
                    name, f"{one / alone:.3g} s alone, {many / members:.3g} s at once", flush=True
                )
        facts = {"quick": flags.quick, "group": cache.group, "members": members, "alone": alone}
    claims = [claimed(name, found) for name, found in seconds.items()]
    found = {
        name: {"seconds a model": seconds[name], "largest difference of an output": apart[name]}
        for name in names
    }
    result.write(flags.out, claims, **facts, methods=found)


def one_by_one(cache: ModelCache, chosen: Method, ids: Sequence[int]) -> tuple[float, Tensor]:
    """Seconds for these originals, one after another, and their outputs on forgotten rows."""
    panel, found = Panel.of(cache.problem), []
    pairs = [
        (Ensemble.of(own, i), Ensemble.of(taught, i))
        for i, own, taught in zip(
            ids,
            cache.models("original", len(ids)).modules(),
            cache.models("teacher", len(ids)).modules(),
            strict=True,
        )
    ]
    start = perf_counter()
    with one_thread():
        for original, teacher in pairs:
            seed = cache.runtime.seed
            made = chosen(cache.problem, original, MethodInputs(teachers=teacher), seed=seed)
            found.append(panel.read(cache.problem, made.models, seed)["forget"])
    return perf_counter() - start, torch.cat(found)


def at_once(cache: ModelCache, chosen: Method, members: int) -> tuple[float, Tensor]:
    """Seconds for all originals by the engine, and their outputs on forgotten rows."""
    panel, nothing = Panel.of(cache.problem), Predictions(cache.problem, None, 0)
    start = perf_counter()
    seen = unlearn(cache, panel, {chosen.name: chosen}, members, nothing)[chosen.name]
    took, forgotten = perf_counter() - start, seen.outputs.whole("forget")
    assert forgotten is not None
    return took, forgotten


def claimed(name: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """The ratio of time a model."""
    ratios = [a / b for a, b in zip(found["ours"], found["alone"], strict=True)]
    what = f"time a model at once relative to one after another, {name}; two cores"
    return measured.claim(what, ratios, LIMIT)


if __name__ == "__main__":
    main()
