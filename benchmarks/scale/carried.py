"""The cost model carried to ImageNet and to a billion texts: what each thing takes there."""

from dataclasses import replace
from math import ceil, sqrt
from typing import Any, NamedTuple

from benchmarks.scale.cluster_queue import Queue, best_interval
from benchmarks.scale.model import (
    COMBINED,
    EVIDENCE,
    FEW,
    ONCE,
    Span,
    bookkeeping_bytes,
    cubes,
    curvature_bytes,
    evidence_bytes,
    forgetting,
    half_bytes,
    halfway_bytes,
    linearised_bytes,
    margin_bytes,
    model_bytes,
    training_bytes,
    trainings,
    unlearning,
)
from benchmarks.scale.scenarios import (
    BACK,
    BETWEEN,
    BILLION,
    FORGOTTEN,
    GPU_BYTES,
    IMAGENET,
    LORA,
    SETTINGS,
    SHARDS,
    SPOT,
    TOKENS,
    WEEK,
    Rate,
    Setting,
)
from expunge.store.checkpoint import EVERY, SHARE

Rates = dict[str, Rate]
HALF_MODELS = 1000
GPUS, EIGHT = (1, 8, 128), 8  # how many; in a machine
TOGETHER = 64  # GPUs that train one model of seven billion weights


def carried(rates: Rates, slower: float, writing: float, k: float, booked: float) -> dict[str, Any]:
    """All tables, as lists of rows.

    Args:
        rates: how fast a GPU trains.
        slower: how much longer than by its row units a request may take, measured.
        writing: bytes a second into the store, measured.
        k: seconds of a core for eigenvectors, over the cube of the side, measured.
        booked: seconds a row of bookkeeping, measured.
    """
    return {
        "works": [work(one, rates) for one in works(slower)],
        "requests": [
            request(setting, forgotten, rates, slower)
            for setting in (IMAGENET, BILLION)
            for forgotten in FORGOTTEN[setting.name]
        ],
        "bytes": [held(setting, writing, k) for setting in SETTINGS if setting.epochs != 16],
        "limits": {
            "bookkeeping, bytes a process": bookkeeping_bytes(BILLION.rows),
            "bookkeeping, s": booked * BILLION.rows,
            "all outputs of a model, bytes": 4.0 * BILLION.rows * TOKENS * BILLION.shape.outputs,
            "margins of a panel, bytes": margin_bytes(BILLION.judged, sum(EVIDENCE.values())),
            "LoRA, bytes of the adapters alone": model_bytes(replace(LORA.shape, frozen=0)),
            "GPU, bytes": GPU_BYTES,
        },
    }


class Wanted(NamedTuple):
    """Something that may be wanted."""

    setting: Setting
    what: str
    units: float  # row units of one task
    tasks: int = 1  # trainings, or requests
    slower: float = 1.0  # how much longer than by its row units it may take


def works(slower: float) -> list[Wanted]:
    """All that may be wanted."""
    found = []
    for setting in SETTINGS:
        one = trainings(setting.problem(1000), {"oracle": 1})
        found.append(Wanted(setting, "one training", one))
        if setting in (IMAGENET, BILLION, LORA):
            found.append(Wanted(setting, "10 oracles for `distance`", one, FEW["oracle"]))
        found.append(Wanted(setting, "300 models for KLoM", one, sum(EVIDENCE.values())))
        if setting in (IMAGENET, BILLION):
            half = trainings(setting.problem(1000), {"subset": 1})
            found.append(Wanted(setting, "1,000 half-data models", half, HALF_MODELS))
    shard = replace(BILLION, rows=BILLION.rows // SHARDS).problem()
    problem = BILLION.problem(1000)
    return [
        *found,
        Wanted(BILLION, f"one of {SHARDS:,} shards trained again", trainings(shard, {"oracle": 1})),
        Wanted(BILLION, "forgetting by fine-tune, 5 epochs", unlearning(problem, "fine-tune")),
        Wanted(BILLION, "forgetting by dmm, linearised", forgetting(problem, ONCE), slower=slower),
        Wanted(
            BILLION, "forgetting by dmm, combined", forgetting(problem, COMBINED), slower=slower
        ),
    ]


def work(one: Wanted, rates: Rates) -> dict[str, Any]:
    """What it takes: seconds by the number of GPUs, and machines for a week."""
    low, high = one.setting.seconds(one.units, rates)
    ends = (low, high * one.slower)
    spread = one.setting.spread
    return {
        "setting": one.setting.name,
        "what": one.what,
        "row units": one.units * one.tasks,
        "seconds by GPUs": {n: [lasting(end, one.tasks, n, spread) for end in ends] for n in GPUS},
        "machines for a week": [needed(end, one.tasks, spread) for end in ends],
    }


def lasting(seconds: float, tasks: int, gpus: int, spread: bool) -> float:
    """Seconds that tasks take on so many GPUs: spread evenly, or a GPU each, in rounds."""
    return seconds * (tasks / gpus if spread else ceil(tasks / gpus))


def needed(seconds: float, tasks: int, spread: bool) -> int | None:
    """Machines of EIGHT on which they are done in a week; None where a task alone is longer."""
    if spread:
        return ceil(seconds * tasks / (EIGHT * WEEK))
    rounds = int(WEEK // seconds)
    return ceil(ceil(tasks / rounds) / EIGHT) if rounds else None


def request(setting: Setting, forgotten: int, rates: Rates, slower: float) -> dict[str, Any]:
    """One request by dmm with linearised attribution, against one retraining."""
    problem = setting.problem(forgotten)
    units, whole = forgetting(problem), trainings(problem, {"oracle": 1})
    low, high = setting.seconds(units, rates)
    return {
        "setting": setting.name,
        "rows": forgotten,
        "row units": units,
        "GPU seconds": (low, high * slower),
        "of a retraining": units / whole,
        "combined, of a retraining": forgetting(problem, COMBINED) / whole,
    }


def held(setting: Setting, writing: float, k: float) -> dict[str, Any]:
    """Bytes in the store and in memory."""
    shape, checkpoint = setting.shape, halfway_bytes(setting.shape)
    return {
        "setting": setting.name,
        "model": model_bytes(shape),
        "half-way": checkpoint,
        "half-way, s": checkpoint / writing,
        "outputs of a half-data model": half_bytes(shape, setting.rows, setting.judged),
        "margins of a half-data model": margin_bytes(setting.rows + setting.judged, 1),
        "evidence": evidence_bytes(shape, 1000, EVIDENCE),
        "training, memory": training_bytes(shape),
        "EK-FAC, memory": curvature_bytes(shape),
        "linearised, memory": linearised_bytes(shape),
        "eigenvectors, s of a core": k * cubes(shape),
    }


def queues(rates: Rates, writing: float) -> dict[str, Queue]:
    """Queues of these settings: one ResNet-50 a GPU, and one large model on many."""
    written = halfway_bytes(IMAGENET.shape) / writing
    steady = Queue(
        workers=128,
        tasks=sum(EVIDENCE.values()),
        seconds=middle(IMAGENET.seconds(trainings(IMAGENET.problem(1000), {"oracle": 1}), rates)),
        between=BETWEEN,
        restart=BACK,
        every=max(EVERY, written / SHARE),
        checkpoint=written,
    )
    spot = replace(steady, between=SPOT)
    few = replace(spot, workers=32)
    whole = middle(BILLION.seconds(trainings(BILLION.problem(1000), {"oracle": 1}), rates))
    written = halfway_bytes(BILLION.shape) / writing
    large = Queue(
        workers=10,
        tasks=10,
        seconds=whole / TOGETHER,
        between=BETWEEN / TOGETHER,
        restart=BACK,
        every=max(EVERY, written / SHARE),
        checkpoint=written,
    )
    best = best_interval(large.checkpoint, large.between)
    nothing = {"every": None, "checkpoint": 0.0}
    return {
        "300 ResNet-50 on 32 GPUs, steady, kept": replace(steady, workers=32),
        "the same, on 256 GPUs: two rounds, the last not full": replace(steady, workers=256),
        "on 32 GPUs, taken back once a day": few,
        "and nothing kept": replace(few, **nothing),
        "and a task is given up after 3 losses": replace(few, attempts=3, **nothing),
        "kept, and given up after 3 losses": replace(few, attempts=3),
        "kept, 1 in 50 takes 3 times as long": replace(few, slow=0.02, factor=3.0),
        "300 ResNet-50 on 128 GPUs, taken back once a day, kept": spot,
        "300 on 300 GPUs, taken back once a day, kept": replace(spot, workers=300),
        "10 oracles of 7B, 64 GPUs each, kept": large,
        "the same, kept every minute": replace(large, every=EVERY),
        "the same, kept as seldom as is best": replace(large, every=best),
        "the same, nothing kept": replace(large, **nothing),
    }


def middle(span: Span) -> float:
    """Between the ends of a span, in proportion."""
    return sqrt(span.low * span.high)
