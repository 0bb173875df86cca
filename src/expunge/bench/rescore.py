"""The numbers of bench.json that follow from the evidence, and the check that they do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from expunge.audit.evidence.folder import METHOD, Evidence, Outputs, read
from expunge.audit.verdict.differences import differences
from expunge.bench import stopping
from expunge.bench.scores import scores
from expunge.errors import BadInput
from expunge.fanout import bar
from expunge.store.checksummed import read_checksummed

EVIDENCE = "evidence"  # below the folder of a benchmark: a folder a run
KEYS = ("config", "forget_sets", "choices", "cells", "failed", "stopping", "run")


def rescore(
    content: dict[str, Any],
    out: Path,
    looks: Mapping[str, Tensor] | None = None,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """The content with `scores` and `not_measured` of every cell, made from the evidence alone.

    Args:
        content: bench.json, with or without scores.
        out: its folder, with the evidence.
        looks: of the stopping-time figure, as `stopping.watched` gives them.
        progress: show a bar.

    Raises:
        BadInput: evidence that is missing or damaged.
    """
    names = tuple(content["config"]["metrics"])
    places, cells, last, evidence = folders(content), [], None, None
    with bar("Judging", len(content["cells"]), progress) as advance:
        for facts in content["cells"]:
            place = places[facts["forget_set"], facts["seed"]]
            if place != last or evidence is None:
                evidence, last = opened(out, place), place
            found, missing = scores(names, file_of(evidence, facts["file"]), evidence)
            cells.append({**facts, "scores": _shortened(found), "not_measured": missing})
            advance(1)
    figure = None
    if looks is not None:
        place = content["config"]["stopping"]["forget"], content["config"]["seeds"][0]
        figure = _shortened(stopping.judged(looks, opened(out, places[place])))
    return {**content, "cells": cells, "stopping": figure}


def folders(content: dict[str, Any]) -> dict[tuple[str, int], str]:
    """The evidence of each forget set and seed: the name of its folder."""
    return {(f["forget_set"], f["seed"]): f["evidence"] for f in content["forget_sets"]}


def opened(out: Path, place: str) -> Evidence:
    """The evidence of one run, checked against its manifest."""
    folder = out / EVIDENCE / place
    return read(folder, "classification", verify_manifest=True, alone=True)


def file_of(evidence: Evidence, name: str) -> Outputs:
    """The models of a cell, by the name of its file."""
    files = {"original": evidence.original, "oracle": evidence.oracle, "null": evidence.second}
    return files[name] if name in files else evidence.unlearned[name.removeprefix(METHOD)]


def _shortened(value: Any) -> Any:
    """The same with six significant digits: a hundred models a cell make long files."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def verify(folder: Path) -> list[str]:
    """What in bench.json does not follow from the evidence, line by line; [] if all does.

    Raises:
        BadInput: a file is missing or damaged.
    """
    content = load(folder, sealed=False)  # whatever was changed is said number by number
    looks = stopping.read(folder) if content["stopping"] else None
    try:
        found = rescore(content, folder, looks)
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
    config = content.get("config", {})
    if "contestants" in config:  # of an earlier version
        config["candidates"] = config.pop("contestants")
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
