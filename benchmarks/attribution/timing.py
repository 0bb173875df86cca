"""Every attributor of `run.py`, asked about every model, and how long it took."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from time import process_time
from typing import Any

import torch
from torch import Tensor

from benchmarks.attribution import dattri, peers
from benchmarks.attribution.ask import Ask, ours
from benchmarks.attribution.peers import installed

OURS = ("linearised", "influence", "ek-fac", "trak")
HALVES = ("datamodels", "combined")
# features of TRAK without damping: traker's default where there are many more rows
FEATURES, FEW = 2048, 128
MANY = 4 * FEATURES  # rows
PACKAGES = {"trak": "traker", "dattri": "dattri", "kronfluence": "kronfluence"}


def attributors(rows: int) -> dict[str, tuple[str | None, Callable]]:
    """By name: the library that it needs, if any, and what answers an `Ask` about so many rows."""
    k = FEATURES if rows >= MANY else FEW
    return {
        **{name: (None, partial(ours, name)) for name in (*OURS, *HALVES)},
        "traker TRAK": ("trak", partial(peers.traker, dimension=k)),
        "traker TRAK, our damping": (
            "trak",
            partial(peers.traker, dimension=FEATURES, damped=True),
        ),
        "dattri TRAK": ("dattri", partial(dattri.trak, dimension=k)),
        "dattri influence": ("dattri", dattri.influence),
        "kronfluence EK-FAC": ("kronfluence", partial(peers.kronfluence, damping=1e-8)),
        "kronfluence EK-FAC, our damping": (
            "kronfluence",
            partial(peers.kronfluence, damping=None),
        ),
    }


def run(asks: list[Ask], one: list[Tensor], *, quick: bool) -> dict[str, dict[str, Any]]:
    """Ask each attributor of each model about one set, and about all.

    Those that need half-data models are asked about the first model only: they are not raced.

    Args:
        asks: a model each, about all sets.
        one: a single set.
        quick: only those of ours that read one model.

    Returns:
        By attributor: "predicted", (models, sets, judged); "seconds_one_set" and
        "seconds_all_sets", one a model. Only "not_measured" where a library is missing.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, (library, answer) in attributors(len(asks[0].problem.present_rows)).items():
        if quick and name not in OURS:
            continue
        if library and not installed(library):
            found[name] = {"not_measured": "not installed", "predicted": None}
            continue
        answer(replace(asks[0], sets=one))  # imports and warms up
        chosen = asks[:1] if name in HALVES else asks
        small = [timed(answer, replace(ask, sets=one))[1] for ask in chosen]
        predicted, large = zip(*(timed(answer, ask) for ask in chosen), strict=True)
        found[name] = {
            "predicted": torch.stack(predicted),
            "seconds_one_set": small,
            "seconds_all_sets": list(large),
            "version": version(PACKAGES[library]) if library else None,
        }
        print(f"{name}: {min(small):.2f} s for a set, {min(large):.2f} s for all", flush=True)
    return found


def timed(answer: Callable, ask: Ask) -> tuple[Tensor, float]:
    """An answer, and the seconds of the processor that it took."""
    start = process_time()
    predicted = answer(ask)
    return predicted, process_time() - start
