"""The numbers of bench.json that follow from the columnar file, and the check that they do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expunge.audit.verdict.differences import differences
from expunge.bench import stopping
from expunge.bench.columns import Reader
from expunge.bench.content import ORACLE, ORIGINAL
from expunge.bench.scores import Judge, scores
from expunge.errors import BadInput
from expunge.fanout import bar
from expunge.store.checksummed import read_checksummed

KEYS = ("config", "forget_sets", "choices", "cells", "failed", "stopping", "run")


def scored(
    content: dict[str, Any],
    reader: Reader,
    looks: Mapping[str, Tensor] | None = None,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """The content with `scores` and `not_measured` of every cell, made from the answers alone.

    Args:
        content: bench.json, with or without scores; cells in the order of the file.
        reader: of the answers.
        looks: of the stopping-time figure, as `stopping.watched` gives them.
        progress: show a bar.

    Raises:
        BadInput: another number of cells than the file has.
    """
    if len(reader) != len(content["cells"]):
        raise BadInput(
            f"{len(content['cells'])} cells in bench.json, {len(reader)} in answers.parquet",
            expected="the same number",
            fix="keep the two files of one run together",
        )
    names = tuple(content["config"]["metrics"])
    emptied = {(f["forget_set"], f["seed"]): f["emptied"] for f in content["forget_sets"]}
    oracles: dict[tuple, int] = {}
    originals: dict[tuple, int] = {}
    for number, facts in enumerate(content["cells"]):
        place = facts["forget_set"], facts["seed"]
        if facts["method"] == ORACLE:
            oracles[place] = number
        if facts["method"] == ORIGINAL:
            originals[place] = number
    cells, last, judge = [], None, None
    with bar("Judging", len(reader), progress) as advance:
        for number, facts in enumerate(content["cells"]):
            place = facts["forget_set"], facts["seed"]
            if place != last or judge is None:
                goal = reader.read(originals[place])["forget"].loss.mean(1)
                gone = torch.tensor(emptied[place], dtype=torch.int64)
                judge, last = Judge(reader.read(oracles[place]), gone, goal), place
            cell = reader.read(number)
            curves = facts["relearning"]
            found, missing = scores(
                names, cell, judge, None if curves is None else torch.tensor(curves).double()
            )
            if facts["method"] == ORACLE:  # against themselves
                for name in [n for n in found if "KLoM" in n or "U-LiRA" in n]:
                    found[name], missing[name] = None, "these are the oracles that judge"
            cells.append({**facts, "scores": _shortened(found), "not_measured": missing})
            advance(1)
    figure = None
    if looks is not None:
        place = content["config"]["stopping"]["forget"], content["config"]["seeds"][0]
        oracle, original = (reader.read(number[place]) for number in (oracles, originals))
        figure = _shortened(stopping.judged(looks, oracle, original))
    return {**content, "cells": cells, "stopping": figure}


def _shortened(value: Any) -> Any:
    """The same with six significant digits: a hundred models a cell make long files."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def verify(folder: Path) -> list[str]:
    """What in bench.json does not follow from answers.parquet, line by line; [] if all does.

    Raises:
        BadInput: a file is missing or damaged.
    """
    content = load(folder, sealed=False)  # whatever was changed is said number by number
    looks = stopping.read(folder) if content["stopping"] else None
    try:
        found = scored(content, Reader(folder), looks)
    except BadInput:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder / "bench.json", f"cannot be understood ({error!r})") from error
    asked = content["config"]["metrics"]
    for before, cell in zip(content["cells"], found["cells"], strict=True):
        # a file written before there was some metric does not say that it was not asked for
        known = {*asked, *before["not_measured"]}
        cell["not_measured"] = {n: why for n, why in cell["not_measured"].items() if n in known}
    return differences(content, found, tolerance=2e-5)


def load(folder: Path, *, sealed: bool = True) -> dict[str, Any]:
    """The content of bench.json in a folder.

    Args:
        folder: of a benchmark.
        sealed: refuse a file that was changed after it was written.

    Raises:
        BadInput: it is missing or damaged.
    """
    path = folder / "bench.json"
    if not path.is_file():
        raise BadInput(
            f"there is no {path}", expected="the folder of a benchmark", fix="check the path"
        )
    try:
        content = read_checksummed(path, check=sealed)
    except ValueError as error:
        raise _damaged(path, f"is damaged ({error})") from error
    lacking = [key for key in KEYS if key not in content]
    if lacking:
        raise BadInput(
            f"{path} has no '{lacking[0]}'",
            expected="bench.json of this version",
            fix="run its config again; what the store holds is not made anew",
        )
    return content


def _damaged(path: Path, what: str) -> BadInput:
    return BadInput(
        f"{path} {what}",
        expected="bench.json as it was written",
        fix="restore it, or run its config again; what the store holds is not made anew",
    )
