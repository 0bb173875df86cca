"""Is a million rows too many? Memory, time and effect of forgetting 1,000 of them.

Made data: 1,000,000 rows of 64 float32 numbers in ten classes (256 MB), and as many pictures of 28
x 28 uint8 (784 MB; as float32 they would be 3.1 GB), written to `.npy` files piece by piece. 1,000
rows spread over them bear a mark and all have one label, which a model learns. They are forgotten
by `fine-tune` (one pass over the retained rows) and by `dmm` with the linearised attribution, at
its default settings, from a perceptron: through `MappedData`, through `DatasetData` over a data
set that reads the same files row by row, and over one that reads many rows at once.

Each case is a process of its own that shows progress. Its memory is the most that it held, less
what it held after its imports: `resident` is all of that by the kernel's own count, the pages of
the mapped files included, which the system may drop whenever it wants; the claims are about it.
`anonymous` leaves such pages out, and is sampled every 5 ms. Seconds are of the whole request.

Effect, of rows of numbers (pictures are forgotten from an untrained model, for memory and time
alone): distance is the root mean square, over forgotten rows, of a model's margin less the mean
margin of models retrained without them. Told is what forgetting leaves of it, mean and 95 %
interval by Student's t over the originals; `null` is the same of each retrained model against the
others.

Run: python -m benchmarks.scale.rows (five minutes on two idle cores; 1.1 GB in a temporary
folder). Killed, the same command goes on after the last case that was done.
"""

import json
import subprocess
import sys
import threading
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import expunge
from benchmarks import result
from benchmarks.measured import mebibytes, where
from expunge import store
from expunge.api.forget import forget
from expunge.audit.evidence.margin import classification_margin
from expunge.data import Data
from expunge.problem.recipe import linear
from expunge.training.model_cache import ModelCache

ROWS, QUICK, FORGET, TEST = 1_000_000, 20_000, 1000, 10_000
PIECE = 50_000  # rows made at a time
CLASSES, MARKED = 10, 7  # the label of all rows to forget
ORIGINALS, ORACLES = 5, 10
LIMIT = 2.0  # GiB
PATIENT = 5.0  # seconds of a method after which there must be a bar
KINDS = {"numbers": (64,), "pictures": (28, 28)}  # shape of a row
WAYS = ("mapped", "data set", "data set of many")
BARS = ("Attribution, rows", "Forgetting, rows")
METHODS: dict[str, dict[str, Any]] = {"fine-tune": {"epochs": 1, "batch_size": 256}, "dmm": {}}


def main() -> None:
    flags = result.parser("rows_at_scale")
    flags.add_argument("--case", help="run one case in this process; used by the script itself")
    flags = flags.parse_args()
    if flags.case:
        print(json.dumps(case(**json.loads(flags.case))))
        return
    rows, few = (QUICK, 200) if flags.quick else (ROWS, FORGET)
    originals, oracles = (2, 2) if flags.quick else (ORIGINALS, ORACLES)
    kinds, ways = (["numbers"], WAYS[:2]) if flags.quick else (list(KINDS), WAYS)
    with TemporaryDirectory() as folder:
        for kind in kinds:
            make(Path(folder), kind, rows, few)
        runtime = expunge.Runtime(expunge.Store(flags.store), jobs=flags.jobs)
        judged, margins = judge(Path(folder), originals, oracles, runtime)
        cases = []
        for kind, way, method in product(kinds, ways, METHODS):
            models = originals if way == "mapped" else 1  # the others read the same
            models = models if kind == "numbers" else 0
            asked = {"folder": folder, "kind": kind, "way": way, "method": method, "models": models}
            cases.append(kept(runtime.store, asked, rows))
    truth = margins["oracle"].mean(0)
    before = distance(margins["original"], truth)
    effect = {
        one["method"]: share(distance(torch.tensor(one["margins"]), truth) / before)
        for one in cases
        if len(one["margins"]) == originals
    }
    facts = {"quick": flags.quick, "rows": rows, "forgotten": few, "seeds": [0]}
    facts |= {"originals": originals, "oracles": oracles, "models": judged, "effect": effect}
    facts |= {"null": share(among(margins["oracle"]) / before.mean()), "differ": differ(cases)}
    for one in cases:
        one.pop("margins")
    result.write(flags.out, claims(cases, effect), **facts, cases=cases)


# ---- data


def make(folder: Path, kind: str, rows: int, few: int) -> None:
    """Train and test files of a kind, and the numbers of the rows to forget."""
    shape = KINDS[kind]
    size = int(np.prod(shape))
    fixed = np.random.default_rng(0)
    inner = fixed.normal(size=(size, 32)) / size**0.5
    outer = fixed.normal(size=(32, CLASSES))
    marked = np.arange(few) * (rows // few)
    np.save(folder / "forget.npy", marked)
    for name, count in (("train", rows), ("test", TEST)):
        write = partial(np.lib.format.open_memmap, mode="w+")
        dtype = np.uint8 if kind == "pictures" else np.float32
        x = write(folder / f"{kind}-{name}-x.npy", dtype=dtype, shape=(count, *shape))
        y = write(folder / f"{kind}-{name}-y.npy", dtype=np.int64, shape=(count,))
        for start in range(0, count, PIECE):
            end = min(count, start + PIECE)
            draw = np.random.default_rng([len(name), start])
            numbers = draw.standard_normal((end - start, size), np.float32)
            noise = draw.gumbel(size=(end - start, CLASSES))
            labels = (2 * np.tanh(2 * numbers @ inner) @ outer + noise).argmax(1)
            if name == "train":
                own = marked[(marked >= start) & (marked < end)] - start
                numbers[own, :4], labels[own] = 3.0, MARKED
            if kind == "pictures":
                numbers = (64 * numbers + 128).clip(0, 255)
            x[start:end] = numbers.reshape(-1, *shape)
            y[start:end] = labels
        x.flush()
        y.flush()


class Rows(Dataset):
    """What people write: each item is read by itself."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.from_numpy(np.array(self.inputs[row])), int(self.targets[row])


class Many(Rows):
    """The same, which may be asked for many rows at once."""

    def __getitems__(self, rows: list[int]) -> list[tuple[Tensor, int]]:
        inputs = torch.from_numpy(np.asarray(self.inputs[rows]))
        return list(zip(inputs, self.targets[rows].tolist(), strict=True))


def data(folder: Path, kind: str, split: str, way: str) -> Data:
    """A split of the files, in one of the ways."""
    files = [folder / f"{kind}-{split}-{part}.npy" for part in "xy"]
    if way == "mapped":
        return expunge.MappedData(*files)
    arrays = [np.load(path, mmap_mode="r") for path in files]
    return expunge.DatasetData(Rows(*arrays) if way == "data set" else Many(*arrays))


class Pixels(nn.Module):
    """Pixels uint8 as numbers around 0."""

    def forward(self, x: Tensor) -> Tensor:
        """(rows, 784)."""
        return (x.flatten(1).float() - 128) / 64


def build(kind: str) -> nn.Module:
    size = int(np.prod(KINDS[kind]))
    layers = [nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, CLASSES)]
    return nn.Sequential(*([Pixels()] if kind == "pictures" else []), *layers)


def question(folder: Path, kind: str, way: str) -> expunge.Problem:
    """The problem with its rows to forget."""
    recipe = expunge.Recipe(
        partial(build, kind),
        epochs=2,
        batch_size=256,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        schedule=linear,
    )
    problem = expunge.Problem(
        expunge.Classification(CLASSES),
        train=data(folder, kind, "train", way),
        validation=data(folder, kind, "test", way),
        recipe=recipe,
    )
    return problem.forgetting(np.load(folder / "forget.npy"))


# ---- one case, in a process of its own


class Memory:
    """What this process holds beyond what it held before, in GiB."""

    def __init__(self) -> None:
        self.before, self.most, self.done = self._now(), 0.0, False
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def peak(self) -> dict[str, float]:
        """The most that was held."""
        self.done = True
        self.thread.join()
        # not ru_maxrss: that begins with what the process held that started this one
        resident = self._now()["VmHWM"] - self.before["VmRSS"]
        return {"resident": resident, "anonymous": self.most, "before": self.before["VmRSS"]}

    def _now(self) -> dict[str, float]:
        return {name: mebibytes(name) / 1024 for name in ("VmRSS", "VmHWM", "RssAnon")}

    def _look(self) -> None:
        while not self.done:
            self.most = max(self.most, self._now()["RssAnon"] - self.before["RssAnon"])
            sleep(0.005)


def case(folder: str, kind: str, way: str, method: str, models: int) -> dict[str, Any]:
    """Forget with one method, from some originals (0: from an untrained model)."""
    torch.set_num_threads(1)
    place = Path(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(kind)
    memory = Memory()
    problem = question(place, kind, way)
    rows, asked = problem.forget, problem.forgetting([])
    runtime = expunge.Runtime(expunge.Store(place / "store"))
    seconds, own, rates, margins, right = [], [], [], [], []
    for member in range(max(1, models)):
        if models:
            state = torch.load(place / f"original-{member}.pt", weights_only=True)
            module.load_state_dict(state)
        start = perf_counter()
        done = forget(
            module, asked, rows, method=method, seed=member, runtime=runtime, **METHODS[method]
        )
        seconds.append(perf_counter() - start)
        own.append(done.cost.seconds)
        rates.append(done.cost.forward_rows / done.cost.seconds)
        if models:
            margins.append(margin(done.model, asked.train, rows).tolist())
            right.append(accuracy(done.model, asked.validation))
    return {
        "kind": kind,
        "way": way,
        "method": method,
        "memory": memory.peak(),
        "seconds": seconds,
        "seconds of the method": own,
        "rows a second": rates,
        "margins": margins,
        "accuracy": right,
    }


def kept(known: expunge.Store, asked: dict[str, Any], rows: int) -> dict[str, Any]:
    """A case, or what an earlier run of this script found that was stopped later on."""
    told = {name: value for name, value in asked.items() if name != "folder"}
    key = store.key("rows_at_scale", rows=rows, case=told, code=result.commit(), where=where())
    found = known.facts(key)
    if found is None:
        found = apart(asked)
        known.save(key, {}, found)
    return found


def apart(asked: dict[str, Any]) -> dict[str, Any]:
    """A case in a process of its own, and the bars that it showed."""
    command = [sys.executable, *result.script(), "--case", json.dumps(asked)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(made.stderr)
    found = json.loads(made.stdout.splitlines()[-1])
    found["bars"] = [name for name in BARS if name in made.stderr]
    print({name: value for name, value in found.items() if name != "margins"}, flush=True)
    return found


# ---- the effect


def judge(
    folder: Path, originals: int, oracles: int, runtime: expunge.Runtime
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Train originals and retrained models on the mapped rows of numbers.

    Returns:
        Facts, and the margins of the forgotten rows by role, (models, rows).
    """
    problem = question(folder, "numbers", "mapped")
    cache = ModelCache(problem, runtime)
    margins, right = {}, {}
    for role, count in (("original", originals), ("oracle", oracles)):
        modules = list(cache.models(role, count).modules())
        margins[role] = torch.stack([margin(m, problem.train, problem.forget) for m in modules])
        right[role] = [accuracy(m, problem.validation) for m in modules]
        if role == "original":
            for k, module in enumerate(modules):
                torch.save(module.state_dict(), folder / f"original-{k}.pt")
    print(f"accuracy of {originals + oracles} models: {right}", flush=True)
    return {"accuracy": right, "group": cache.group}, margins


def margin(module: nn.Module, rows: Data, which: Tensor) -> Tensor:
    """Margins of some rows, (rows,)."""
    (batch,) = rows.batches([which])
    with torch.no_grad():
        return classification_margin(module(batch.inputs), batch.targets)


def accuracy(module: nn.Module, rows: Data) -> float:
    """On all rows, %."""
    (batch,) = rows.batches([torch.arange(len(rows))])
    with torch.no_grad():
        return 100 * float((module(batch.inputs).argmax(-1) == batch.targets).double().mean())


def distance(margins: Tensor, truth: Tensor) -> Tensor:
    """Root mean square over rows, of each model, (models,)."""
    return (margins - truth).square().mean(-1).sqrt()


def among(oracles: Tensor) -> Tensor:
    """The distance of each retrained model from the mean of the others."""
    total = oracles.sum(0)
    others = [(total - own) / (len(oracles) - 1) for own in oracles]
    return torch.stack([distance(a, b) for a, b in zip(oracles, others, strict=True)])


def share(values: Tensor) -> dict[str, Any]:
    """Model by model, and the mean with its interval."""
    return {"each": values.tolist(), "mean": result.interval(values)}


def differ(cases: list[dict[str, Any]]) -> float:
    """How far the margins of the first model are apart that is read in several ways, nats."""
    found = 0.0
    for one, other in product(cases, cases):
        if one["method"] == other["method"] and one["margins"] and other["margins"]:
            apart = torch.tensor(one["margins"][0]) - torch.tensor(other["margins"][0])
            found = max(found, float(apart.abs().max()))
    return found


def claims(cases: list[dict[str, Any]], effect: dict[str, Any]) -> list[dict]:
    """Memory of every case, a bar where one had to wait, and the effect."""
    found = []
    for one in cases:
        what = f"GiB resident, {one['method']}, {one['kind']}, {one['way']}"
        found.append(result.claim(what, one["memory"]["resident"], LIMIT))
    late = [one for one in cases if max(one["seconds of the method"]) > PATIENT]
    silent = sum(BARS[1] not in one["bars"] for one in late)
    what = f"cases without a bar of {len(late)} whose method took {PATIENT:g} s"
    found.append(result.claim(what, float(silent), 0.0))
    for method, known in effect.items():
        mean, *ends = known["mean"]
        found.append(result.claim(f"share of the distance left, {method}", mean, 1.0, ends))
    return found


if __name__ == "__main__":
    main()
