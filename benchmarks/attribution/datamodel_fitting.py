"""Datamodels from 2,000 half-data models of 10,000 rows, on 12,000 rows x 10 logits.

All outputs are 0.96 GB in float32; a weight of every row for every output would be 9.6 GB. `Ridge`
reads the outputs block by block and answers what is asked: the effect of a forget set on all
outputs, with a strength chosen by leaving models out, and all rows' weights for 500 outputs.
scikit-learn's `Ridge` is given that strength and fits all weights of 2,000 and of 12,000 outputs
at once; a line through both gives its seconds and memory for 120,000. A lasso is fitted output by
output (`Lasso`, its strengths chosen as published; and scikit-learn's `Lasso` at one of them), on
a few outputs, so that its seconds for all are those of one output times 120,000. Outputs are
invented (a sum over rows of few directions, and noise), memberships drawn as in the package. Every
piece runs in a process of its own, with one thread; working memory is beyond imports.

Run: python -m benchmarks.attribution.datamodel_fitting (twenty minutes and 1.1 GB of disk; Linux).
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Lasso as SklearnLasso
from sklearn.linear_model import Ridge as SklearnRidge
from torch import Tensor

from benchmarks import measured, result
from expunge.attribution.half_data_models import ROWS, Block, HalfDataModels
from expunge.attribution.lasso import Lasso
from expunge.attribution.ridge import Ridge
from expunge.data import TensorData
from expunge.problem import Classification, Problem
from expunge.rng import Draws
from expunge.store import Store
from expunge.training.from_recipe import subset_rows

FULL = {"models": 2000, "rows": 10000, "tested": 2000, "classes": 10, "forget": 100}
FULL |= {"group": 50, "sampled": 500, "few": 2000, "many": 12000, "lasso": 3, "times": 4}
QUICK = {"models": 60, "rows": 300, "tested": 100, "classes": 3, "forget": 10}
QUICK |= {"group": 20, "sampled": 20, "few": 60, "many": 300, "lasso": 2, "times": 1}
DIRECTIONS, NOISE = 8, 1.0
CEILING, AGREE, FASTER = 1024, 1e-9, 0.1  # MiB, of the outputs' unit, of scikit-learn's time


def invent(folder: Path, size: dict[str, int]) -> None:
    """Outputs of half-data models, written block by block as the package keeps them."""
    (folder / "size.json").write_text(json.dumps(size))
    n, tested, classes = size["rows"], size["tested"], size["classes"]
    data = TensorData(torch.zeros(n, 1), torch.zeros(n, dtype=torch.int64))
    problem = Problem(Classification(size["classes"]), data, data)
    draws = Draws((0, "datamodel fitting"))
    generator = torch.Generator().manual_seed(0)
    rise = torch.randn(n, DIRECTIONS, generator=generator) / (n * DIRECTIONS) ** 0.5
    falls = {
        split: torch.randn(DIRECTIONS, rows * classes, generator=generator)
        for split, rows in (("train", n), ("test", tested))
    }
    for start in range(0, size["models"], size["group"]):
        rows = subset_rows(problem, range(start, start + size["group"]), 0)
        inside = torch.zeros(len(rows), n).scatter_(1, rows, 1.0)
        block = {ROWS: rows}
        for split, fall in falls.items():
            noise = NOISE * torch.randn(len(rows), fall.shape[1], generator=generator)
            block[split] = (4 * inside @ rise @ fall + noise).view(len(rows), -1, classes)
        Store(folder).save(f"outputs/{start:05d}", block, {})
    forget = draws.at("forget").permutation(n)[: size["forget"]].sort().values
    np.save(folder / "forget.npy", forget.numpy())


class Kept(Sequence[Block]):
    """The blocks, read from their files at each look."""

    def __init__(self, folder: Path) -> None:
        self.store, self.names = Store(folder), list(Store(folder).keys("outputs"))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place):  # type: ignore[override]
        found = self.store.load(self.names[place])
        assert found is not None
        return found.tensors


def repeat(folder: Path, size: dict[str, int]) -> dict[str, Any]:
    """One run of every piece, and what follows from them."""
    if not (folder / "size.json").exists():
        invent(folder, size)
    run = partial(measured.alone, folder=folder)
    ours, few, many, sparse, published = (
        run(part)
        for part in (
            "ridge",
            f"sklearn_ridge:{size['few']}",
            f"sklearn_ridge:{size['many']}",
            f"lasso:{size['lasso']}",
            f"sklearn_lasso:{size['lasso']}",
        )
    )
    outputs = (size["rows"] + size["tested"]) * size["classes"]
    theirs = {}
    for unit in ("seconds", "mib"):
        slope = (many[unit] - few[unit]) / (size["many"] - size["few"])
        theirs[unit] = many[unit] + slope * (outputs - size["many"])
    found = np.load(folder / "ridge.npz")
    wanted = np.load(folder / f"sklearn-{size['many']}.npz")
    apart = {
        name: float(np.abs(found[name].ravel()[: wanted[name].size] - wanted[name].ravel()).max())
        for name in ("effect", "weights")
    }
    return {
        "ridge": ours,
        "scikit-learn ridge": {str(size["few"]): few, str(size["many"]): many},
        "scikit-learn ridge, all outputs, extrapolated": theirs,
        "lasso": sparse,
        "scikit-learn lasso, one strength": published,
        "lasso, all outputs, extrapolated hours": {
            "published": sparse["an_output"] * outputs / 3600,
            "one strength": published["an_output"] * outputs / 3600,
        },
        "largest difference": apart,
        "largest effect": float(np.abs(found["effect"]).max()),
        "ratio to scikit-learn ridge": ours["seconds"] / theirs["seconds"],
        # the last phase makes the weights of `sampled` outputs, with the strength known
        "ratio for an output's weights": (list(ours["phases"].values())[-1] / size["sampled"])
        / (many["seconds"] / size["many"]),
        "ratio to lasso": ours["seconds"] / (sparse["an_output"] * outputs),
        "ratio to scikit-learn lasso": ours["seconds"] / (published["an_output"] * outputs),
    }


def ridge(folder: Path) -> dict[str, Any]:
    """The effect of a forget set on all outputs, and all weights of some outputs."""
    size, halves, forget = opened(folder)
    made, times, start = Ridge(halves), {}, perf_counter()

    def took(name: str) -> None:
        nonlocal start
        times[name], start = perf_counter() - start, perf_counter()

    strength = made.strength
    took("strength")
    asked = {split: torch.arange(rows) for split, (rows, _) in halves.splits.items()}
    changes = made.changes(forget, asked)
    took("effect of the forget set on all outputs")
    # a forgotten set's presence adds what forgetting it takes away
    effect = torch.cat([-changes[split].mean.flatten() for split in ("test", "train")])
    weights = made.datamodels({"test": torch.arange(size["sampled"])})
    took("weights of all rows for some outputs")
    np.savez(folder / "ridge.npz", effect=effect.numpy(), weights=weights.T.numpy())
    np.save(folder / "strength.npy", strength)
    return {"strength": strength, "phases": times}


def sklearn_ridge(folder: Path, outputs: int) -> dict[str, Any]:
    """All weights of the first outputs of the test rows (and then of the train rows) at once."""
    size, halves, forget = opened(folder)
    x, z = (t.numpy() for t in (memberships(halves), first_outputs(halves, size, outputs)))
    start = perf_counter()
    made = SklearnRidge(alpha=float(np.load(folder / "strength.npy")))
    made.fit(x, z)
    fitted = perf_counter() - start
    effect = made.coef_[:, forget.numpy()].sum(1)
    weights = made.coef_[: size["sampled"]]
    np.savez(folder / f"sklearn-{outputs}.npz", effect=effect, weights=weights)
    return {"fit": fitted}


def lasso(folder: Path, outputs: int) -> dict[str, Any]:
    """The published estimator, as the package has it."""
    size, halves, _ = opened(folder)
    made = Lasso(halves)
    found = made._memberships  # what all outputs share, which is not in the seconds of one
    start = perf_counter()
    for z in first_outputs(halves, size, outputs).T:
        made._effects(z)
    return {"an_output": (perf_counter() - start) / outputs, "models": len(found)}


def sklearn_lasso(folder: Path, outputs: int) -> dict[str, Any]:
    """scikit-learn's `Lasso` at a tenth of the largest strength."""
    size, halves, _ = opened(folder)
    x, z = (t.numpy() for t in (memberships(halves), first_outputs(halves, size, outputs)))
    start = perf_counter()
    for one in z.T:
        most = np.abs((x - x.mean(0)).T @ (one - one.mean())).max() / len(one)
        SklearnLasso(alpha=0.1 * most).fit(x, one)
    return {"an_output": (perf_counter() - start) / outputs}


def opened(folder: Path) -> tuple[dict[str, int], HalfDataModels, Tensor]:
    """What every piece begins with."""
    size = json.loads((folder / "size.json").read_text())
    present = torch.ones(size["rows"], dtype=torch.bool)
    return (
        size,
        HalfDataModels(Kept(folder), present, True),
        torch.from_numpy(np.load(folder / "forget.npy")),
    )


def memberships(halves: HalfDataModels) -> Tensor:
    """(models, rows) float64."""
    return halves.memberships(torch.arange(len(halves.present)))


def first_outputs(halves: HalfDataModels, size: dict[str, int], outputs: int) -> Tensor:
    """(models, outputs) float64: of the test rows, and then of the train rows."""
    test = min(outputs, size["tested"] * size["classes"])
    chosen = {"test": torch.arange(test), "train": torch.arange(outputs - test)}
    return halves.sampled({split: places for split, places in chosen.items() if len(places)})


def claims(runs: list[dict[str, Any]]) -> list[dict]:
    apart = [max(run["largest difference"].values()) for run in runs]
    return [
        measured.peak_claim(
            "working memory of ridge at full size, MiB", of(runs, "ridge", "mib"), CEILING
        ),
        result.claim("largest difference from scikit-learn's ridge", max(apart), AGREE),
        measured.claim(
            "seconds for a forget set's effect on all outputs and all weights of 500, of "
            "scikit-learn's ridge for all weights of all outputs (extrapolated)",
            of(runs, "ratio to scikit-learn ridge"),
            FASTER,
        ),
        measured.claim(
            "the same, of the published lasso for all outputs (extrapolated)",
            of(runs, "ratio to lasso"),
            FASTER,
        ),
        measured.claim(
            "the same, of scikit-learn's lasso at one strength for all outputs (extrapolated)",
            of(runs, "ratio to scikit-learn lasso"),
            FASTER,
        ),
        measured.claim(
            "seconds for an output's weights alone, of scikit-learn's ridge's",
            of(runs, "ratio for an output's weights"),
            1.0,
        ),
    ]


def of(runs: list[dict[str, Any]], *path: str) -> list[float]:
    """One number of each run."""
    found = []
    for run in runs:
        value: Any = run
        for name in path:
            value = value[name]
        found.append(float(value))
    return found


PARTS = {f.__name__: f for f in (ridge, sklearn_ridge, lasso, sklearn_lasso)}

if __name__ == "__main__":
    measured.main("datamodel_fitting", PARTS, (FULL, QUICK), repeat, claims)
