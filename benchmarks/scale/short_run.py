"""A short run on this machine: what row units really take, and what really lies in the store.

Four networks from small to large, random rows, one core. What counts is how the price of each piece
of work, in row units, compares with its time, and what becomes of that as networks grow: only
then may prices be carried to networks that nobody here can run.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.scale.model import (
    Shape,
    cubes,
    curvature_bytes,
    half_bytes,
    halfway_bytes,
    model_bytes,
)
from benchmarks.scale.recorded import Check
from benchmarks.speed.ensemble import PEAK
from expunge.api.panel import Panel, write_evidence
from expunge.curvature.ekfac import ekfac
from expunge.curvature.leave_out import tangent
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product
from expunge.data import TensorData
from expunge.data.fingerprints import fingerprints
from expunge.engine.ensemble import Ensemble
from expunge.fanout import one_thread
from expunge.fanout.runtime import Runtime
from expunge.methods import MethodInputs
from expunge.methods.finetune import finetune
from expunge.problem import Classification, Problem, Recipe
from expunge.rng import Draws
from expunge.store import Store
from expunge.store.checkpoint import Checkpoint, Spent
from expunge.training.model_cache import ModelCache
from expunge.zoo.digits import build as digits_network
from expunge.zoo.digits import digits
from expunge.zoo.resnet import resnet9
from expunge.zoo.small_conv import small_conv

CLASSES, ROUNDS = 10, 5
TRAINING, PRODUCT, EKFAC = "training", "Gauss-Newton product", "EK-FAC"
BY_ROW = "gradients row by row"
MEMBERS = 5  # of which the store is measured
BOOKED = 10**5  # rows of which the bookkeeping is timed
MULTIPLIED = 8  # matrix products of PEAK a round, by which the rate is measured
SIDE = 768  # of the matrix whose eigenvectors are timed
WRITTEN = 1 << 25  # numbers that are written to the store, 128 MiB


def wide() -> nn.Module:
    """A perceptron whose steps are matrix products and little else: 2.9 million weights."""
    sizes = (784, 1024, 1024, 1024)
    parts = [
        m for a, o in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(a, o), nn.ReLU())
    ]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], CLASSES))


class Network(NamedTuple):
    """A network to be timed."""

    build: Callable[[], nn.Module]
    row: tuple[int, ...]
    count: int  # rows read at a time
    large: bool = False  # the slow pieces of work are left out


NETWORKS = {
    "digits' perceptron": Network(digits_network, (64,), 512),
    "small convolutions": Network(
        partial(small_conv, CLASSES, (0.5,) * 3, (0.25,) * 3), (3, 32, 32), 128
    ),
    "wide perceptron": Network(wide, (784,), 256),
    "ResNet-9": Network(resnet9, (3, 32, 32), 16, large=True),
}


def run(quick: bool) -> dict[str, Any]:
    """All of it; seconds of one core."""
    names = list(NETWORKS)[: 1 if quick else None]
    with one_thread():
        k = eigenvectors()
        networks = {name: network(NETWORKS[name], k) for name in names}
        kept, writing = stored()
        return {
            "networks": networks,
            "bytes": [check._asdict() for check in kept],
            "writing, bytes/s": writing,
            "bookkeeping, s a row": booked(BOOKED // 10 if quick else BOOKED),
            "eigenvectors, s / side^3": k,
        }


def network(chosen: Network, k: float) -> dict[str, Any]:
    """Seconds of a row unit of training, and how many times that the units of other work take.

    All are timed in turn, in rounds, so that what else runs on the machine meets all alike.

    Args:
        chosen: the network.
        k: seconds of eigenvectors over the cube of the side; no part of row units.
    """
    torch.manual_seed(0)
    module, count = chosen.build(), chosen.count
    base = random_problem(chosen).forgetting([0])
    point, rows, some = Point(base.task, base.train, module), torch.arange(count), torch.arange(16)
    draws, vector = Draws((0, "scale")), {n: torch.randn_like(w) for n, w in point.weights.items()}
    works: dict[str, tuple[float, Callable[[], Any]]] = {  # by name: row units, and what to do
        TRAINING: (3 * 2 * count, lambda: matched(base, module, 2, count)),
        "forward": (count, lambda: Ensemble.of(module).outputs(base.task, base.train, rows)),
        "tangent": (3 * count, lambda: tangent(point, rows, vector)),
        PRODUCT: (6 * count, lambda: gauss_newton_product(point, rows, vector)),
        BY_ROW: (3 * len(some), lambda: list(point.row_gradients(some))),
    }
    if not chosen.large:
        works["steps of 32 rows"] = (3 * 8 * 32, lambda: matched(base, module, 8, 32))
        works[EKFAC] = (6 * count + 1, lambda: ekfac(point, rows, draws))
    apart = {EKFAC: k * cubes(Shape.of("", module, CLASSES))}  # seconds that no row takes
    for _, work in works.values():
        work()
    seconds = {name: [] for name in works}
    a = torch.rand(PEAK, PEAK)
    rates = []
    for _ in range(ROUNDS):
        rates.append(MULTIPLIED * 2 * PEAK**3 / timed(lambda: [a @ a for _ in range(MULTIPLIED)]))
        for name, (_, work) in works.items():
            seconds[name].append(timed(work))
    training = [took / works[TRAINING][0] for took in seconds[TRAINING]]
    unit = median(training)
    return {
        "weights": point.size,
        "seconds a row unit": unit,
        "share of the rate": flops(base, module) / 3 / unit / median(rates),
        "actual over predicted": {
            name: [
                took / (works[name][0] * one + apart.get(name, 0.0))
                for took, one in zip(own, training, strict=True)
            ]
            for name, own in seconds.items()
            if name != TRAINING
        },
    }


def random_problem(chosen: Network) -> Problem:
    """Random rows."""
    count = max(chosen.count, 128)
    data = TensorData(torch.rand(count, *chosen.row), torch.randint(CLASSES, (count,)))
    recipe = Recipe(chosen.build, 1, 32, partial(torch.optim.SGD, lr=0.01))
    return Problem(Classification(CLASSES), data, data, recipe=recipe, name="random rows")


def matched(base: Problem, module: nn.Module, steps: int, rows: int) -> Any:
    """Steps of so many rows, as methods take them; at a rate of 0 the weights stay."""

    def plans(_: Draws) -> list:
        return [iter([torch.arange(rows)[None]] * steps)]

    def objective(model: Any, batch: Any) -> Tensor:
        return base.task.loss(base.task.outputs(model, batch), batch).mean()

    draws = Draws((0, "scale"))
    return finetune(
        base,
        Ensemble.of(module),
        MethodInputs(),
        objective,
        plans,
        steps=steps,
        lr=0.0,
        draws=draws,
    )


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def flops(base: Problem, module: nn.Module) -> float:
    """Multiplications and additions of a row that is trained on: forward and backward."""
    batch = next(iter(base.train.batches([torch.arange(16)])))
    with FlopCounterMode(display=False) as counter:
        base.task.loss(base.task.outputs(module, batch), batch).mean().backward()
    module.zero_grad(set_to_none=True)
    return counter.get_total_flops() / 16


def stored() -> tuple[list[Check], float]:
    """Bytes of what the store keeps, predicted and actual; and how fast it writes, bytes/s."""
    base = digits().forgetting(range(30))
    shape = Shape.of("digits", digits_network(), CLASSES)
    others = len(base.validation) + len(base.judge)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        cache = ModelCache(base, Runtime(Store(root), jobs=1, group=MEMBERS, progress=False))
        originals = cache.models("original", MEMBERS)
        cache.half_models(MEMBERS)
        outputs = {"original": [Panel.of(base).answers(base, originals)]}
        write_evidence(root / "evidence", outputs, {})
        (module,) = Ensemble.of(digits_network()).groups()
        optimizer = torch.optim.SGD(list(module.weights().items()), lr=0.0, momentum=0.9)
        for weight in module.weights().values():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
        live = {f"model/{n}": t for n, t in module.tensors().items()}
        live |= {f"average/{n}": t.detach() for n, t in module.weights().items()}
        Checkpoint(Store(root), "checkpoint/one", 0.0, live=live).offer(
            module.weights(), optimizer, Spent()
        )
        judged = sum(len(rows) for rows in Panel.of(base).rows.values())
        momentum = Shape(shape.name, shape.weights, CLASSES, shape.sides, states=1)
        point = Point(base.task, base.train, digits_network())
        known = ekfac(point, torch.arange(64), Draws((0, "scale")))
        held = sum(
            t.nbytes for b in known.blocks for t in (b.inner, b.outer, b.scales) if t is not None
        )
        kind, n = "bytes", len(base.present_rows)
        found = [
            Check(kind, "models", model_bytes(shape, MEMBERS), size(root / "models")),
            Check(
                kind,
                "half-data models",
                half_bytes(shape, n, others, MEMBERS),
                size(root / "outputs"),
            ),
            Check(kind, "half-way checkpoint", halfway_bytes(momentum), size(root / "checkpoint")),
            Check(kind, "evidence", 4 * CLASSES * judged * MEMBERS, size(root / "evidence")),
            Check(kind, "EK-FAC in memory", curvature_bytes(shape), held),
        ]
        big = {"numbers": torch.zeros(WRITTEN)}
        seconds = median(timed(lambda: Store(root).save("big/one", big, {})) for _ in range(3))
    return found, 4 * WRITTEN / seconds


def size(folder: Path) -> int:
    """Bytes of the files with numbers in a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.suffix != ".json" and p.is_file())


def booked(count: int) -> float:
    """Seconds a row: which are left when one is forgotten, one epoch's order, and hashes."""
    data = TensorData(torch.zeros(count, 1), torch.zeros(count, dtype=torch.int64))
    base = Problem(Classification(CLASSES), data, data)

    def work() -> None:
        rows = base.forgetting([0]).retain
        Draws((0, "scale")).of((0,)).permutation(len(rows))
        fingerprints(data, rows)

    return median(timed(work) for _ in range(3)) / count


def eigenvectors() -> float:
    """Seconds of one core for the eigenvectors of a matrix, over the cube of its side."""
    a = torch.randn(SIDE, SIDE)
    return median(timed(lambda: torch.linalg.eigh(a @ a.T)) for _ in range(3)) / SIDE**3
