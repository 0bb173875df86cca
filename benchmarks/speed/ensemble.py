"""How many models of one recipe are trained in an hour, against the loops that people write?

Two baselines train one model after another by plain PyTorch: (a) the practice of published code, a
shuffling `DataLoader` over a `TensorDataset`, which it reads row by row; (b) the same with the data
in memory, a permutation an epoch and batches by index. Each runs with one torch thread, with two,
and as two processes at once with one thread each; ratios are against the best of the first two, the
third is listed beside it. This package trains the same recipe by `ModelCache.make`: groups of
members by vmap, a process a core, every model written to a store, the choice of the group's size
(made once a recipe and machine) timed apart. Processes are started before a clock is. All are
timed in turn, ROUNDS times; intervals are 95 %, by Student's t over the logarithms
of the rounds' ratios.

Claims: the time a model, relative to (a) and to (b); and that both train the same: the difference
in mean test accuracy lies within its interval. Beside them stands the share of the processor's
measured matrix-multiply rate (of both cores) that the training's own multiplications reach.

Run: EXPUNGE_DATA=... python -m benchmarks.speed.ensemble (ten minutes on two idle cores).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any, NamedTuple

import joblib
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import result
from benchmarks.measured import claim as ratio_claim
from expunge import fanout
from expunge.data import TensorData
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem, Recipe
from expunge.store import Store
from expunge.training.model_cache import ModelCache
from expunge.zoo.problems import problem

ROUNDS = 4
CORES = 2
PEAK = 1024  # side of the matrices by whose product the processor is measured


class Case(NamedTuple):
    """One recipe: how many models are trained in a round, and the targets of the two ratios."""

    name: str
    epochs: int
    baseline: int  # models that a baseline trains in a round
    ours: int
    goals: dict[str, tuple[float, float]]  # by baseline: at least, and the goal


CASES = {
    "digits": Case("digits", 20, 6, 200, {"a": (20.0, 30.0), "b": (4.5, 6.0)}),
    "fashion-mlp": Case("fashion-mlp", 10, 2, 40, {"a": (3.5, 6.0), "b": (2.6, 4.0)}),
    "fashion-conv": Case("fashion", 2, 1, 8, {"a": (2.3, 4.0), "b": (1.6, 2.5)}),
}


def main() -> None:
    flags = result.arguments("ensemble_speed", plots=True)
    if flags.plot:
        old = result.before(flags.out)
        found, facts = old["cases"], {name: old[name] for name in ("quick", "measured_at")}
    else:
        found, facts = {}, {"quick": flags.quick}
        names = ["digits"] if flags.quick else list(CASES)
        for name in names:
            found[name] = measured(CASES[name], flags.quick)
    claims = [claim for name, one in found.items() for claim in claimed(name, one)]
    result.write(flags.out, claims, **facts, cases=found)


def measured(case: Case, quick: bool) -> dict[str, Any]:
    """Seconds a model of every way to train this recipe, by round, and accuracies."""
    base = question(case, quick)
    few, many = (1, 8) if quick else (case.baseline, case.ours)
    seconds: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {"baseline": [], "ours": []}
    started = perf_counter()
    joblib.Parallel(n_jobs=CORES)(joblib.delayed(alone)(base, loader, 0, 0) for _ in range(CORES))
    starting = perf_counter() - started
    choosing, groups = [], []
    for turn in range(2 if quick else ROUNDS):
        for kind, feed in (("a", loader), ("b", memory)):
            for threads in (1, 2):
                took, accuracy = alone(base, feed, few, turn, threads)
                seconds.setdefault(f"{kind}, {threads} threads", []).append(took / few)
                right["baseline"] += accuracy if (kind, threads) == ("a", 1) else []  # same seeds
            took, accuracy = together(base, feed, few, turn)
            seconds.setdefault(f"{kind}, two processes", []).append(took / few / CORES)
            right["baseline"] += accuracy
        took, chose, chosen, accuracy = ours(base, many, turn)
        seconds.setdefault("ours", []).append(took / many)
        choosing.append(chose)
        groups.append(chosen)
        right["ours"] += accuracy
        print(case.name, {name: f"{times[-1]:.3g}" for name, times in seconds.items()}, flush=True)
    work, most = flops(base), peak()
    means = {way: sum(times) / len(times) for way, times in seconds.items()}
    return {
        "seconds a model": seconds,
        "models an hour": {way: 3600 / mean for way, mean in means.items()},
        "share of the peak": {way: work / mean / most for way, mean in means.items()},
        "starting processes, s": starting,
        "choosing the group, s": choosing,
        "groups": groups,
        "accuracy": {name: spread(values) for name, values in right.items()},
        "models": {name: len(values) for name, values in right.items()},
        "flops a model": work,
        "peak flops a second": most,
    }


def question(case: Case, quick: bool) -> Problem:
    """The problem with the recipe of a case."""
    base = problem(case.name)
    assert isinstance(base.recipe, Recipe)
    return replace(base, recipe=replace(base.recipe, epochs=2 if quick else case.epochs))


Feed = Callable[[Tensor, Tensor, int], Iterator[tuple[Tensor, Tensor]]]


def loader(inputs: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(a): one epoch by a DataLoader."""
    data = TensorDataset(inputs, targets)
    yield from DataLoader(data, batch_size=size, shuffle=True, drop_last=True)


def memory(inputs: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(b): one epoch by a permutation of what lies in memory."""
    for rows in torch.randperm(len(inputs)).split(size)[: len(inputs) // size]:
        yield inputs[rows], targets[rows]


def alone(
    base: Problem, feed: Feed, count: int, turn: int, threads: int = 1
) -> tuple[float, list[float]]:
    """Seconds for so many models, one after another, and their test accuracies, %."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    start = perf_counter()
    made = [plain(base, feed, 1000 * turn + k) for k in range(count)]
    took = perf_counter() - start
    torch.set_num_threads(before)
    return took, [accuracy(base, module) for module in made]


def together(base: Problem, feed: Feed, count: int, turn: int) -> tuple[float, list[float]]:
    """The same in a process a core: seconds until the last is done, and the accuracies."""
    joblib.Parallel(n_jobs=CORES)(joblib.delayed(awake)() for _ in range(CORES))
    start = perf_counter()
    found: Any = joblib.Parallel(n_jobs=CORES)(
        joblib.delayed(alone)(base, feed, count, 10 + CORES * turn + k) for k in range(CORES)
    )
    return perf_counter() - start, [value for _, own in found for value in own]


def awake() -> None:
    """Each process has imported what this script imports, and waits until the others have."""
    sleep(3)


def plain(base: Problem, feed: Feed, seed: int) -> nn.Module:
    """One model by the loop that people write."""
    recipe, data = base.recipe, base.train
    assert isinstance(recipe, Recipe)
    assert isinstance(data, TensorData)
    torch.manual_seed(seed)
    model = recipe.build()
    optimizer = recipe.optimizer(model.named_parameters())
    if recipe.l2:
        for group in optimizer.param_groups:
            group["weight_decay"] = recipe.l2
    total = recipe.steps(len(data))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: recipe.schedule(k / total))
    for _ in range(recipe.epochs):
        for inputs, targets in feed(data.inputs, data.targets, recipe.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            schedule.step()
    return model


def accuracy(base: Problem, module: nn.Module) -> float:
    """On the test rows, %."""
    assert isinstance(base.test, TensorData)
    module.eval()
    with torch.no_grad():
        found = module(base.test.inputs).argmax(-1) == base.test.targets
    return 100 * float(found.double().mean())


def ours(base: Problem, count: int, turn: int) -> tuple[float, float, dict[str, Any], list[float]]:
    """Seconds for so many models, and for choosing the group; the group; accuracies, %."""
    with TemporaryDirectory() as folder:
        runtime = Runtime(Store(Path(folder)), seed=turn, jobs=CORES, progress=False)
        cache = ModelCache(base, runtime)
        start = perf_counter()
        why = cache.choice._asdict()
        chose = perf_counter() - start
        # processes of another kind ran before: these are started, as those of the baseline are
        fanout.spread(awake, [()] * CORES, jobs=CORES, label="", progress=False)
        start = perf_counter()
        cache.make({"original": count})
        took = perf_counter() - start
        modules = cache.models("original", count).modules()
        return took, chose, why, [accuracy(base, module) for module in modules]


def flops(base: Problem) -> float:
    """Multiplications and additions of one training's matrix products and convolutions."""
    recipe, data = base.recipe, base.train
    assert isinstance(recipe, Recipe)
    assert isinstance(data, TensorData)
    model, rows = recipe.build(), torch.arange(recipe.batch_size)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(data.inputs[rows]), data.targets[rows]).backward()
    return counter.get_total_flops() * recipe.steps(len(data))


def peak() -> float:
    """What all cores reach together in a large matrix product, float32."""
    return sum(joblib.Parallel(n_jobs=CORES)(joblib.delayed(product)() for _ in range(CORES)))


def product() -> float:
    """What one core reaches while the others do the same."""
    torch.set_num_threads(1)
    a = torch.rand(PEAK, PEAK)
    a @ a
    start, count = perf_counter(), 0
    while perf_counter() - start < 3:
        a @ a
        count += 1
    return 2 * PEAK**3 * count / (perf_counter() - start)


def claimed(name: str, one: dict[str, Any]) -> list[dict]:
    """The ratios of time, and that both train the same."""
    times, claims = one["seconds a model"], []
    for kind, limits in CASES[name].goals.items():
        best = min((f"{kind}, {n} threads" for n in (1, 2)), key=lambda way: sum(times[way]))
        ratios = [a / b for a, b in zip(times["ours"], times[best], strict=True)]
        for limit in limits:
            what = f"time a model relative to {best}, {name}; 1 / {limit:g}"
            claims.append(ratio_claim(what, ratios, 1 / limit))
    (a, da), (b, db) = one["accuracy"]["ours"], one["accuracy"]["baseline"]
    wide = 2 * (da**2 + db**2) ** 0.5
    what = f"difference in mean test accuracy, points, {name}; the target is two errors"
    return [*claims, result.claim(what, abs(a - b), wide)]


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard error."""
    found = torch.tensor(values, dtype=torch.float64)
    return float(found.mean()), float(found.std() / len(found) ** 0.5)


if __name__ == "__main__":
    main()
