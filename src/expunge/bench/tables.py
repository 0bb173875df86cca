"""Tables of bench.json in the layout of the SalUn paper: a line a method, gaps to retraining."""

from collections.abc import Iterator

import torch

from expunge.audit.metrics.gap import gap
from expunge.bench.config import SECOND
from expunge.bench.content import (
    ORACLE,
    ORIGINAL,
    RETRAIN,
    Content,
    cells_of,
    gaps_between,
    names_of,
    rules_of,
    values_of,
)
from expunge.bench.scores import GAPPED, columns
from expunge.methods import METHODS
from expunge.report.bench.grid import Cell, Grid, Line

AVERAGE, CHANCE, SECONDS, ROWS = "Avg. Gap", "by chance", "RTE", "Rows"


def tables(content: Content) -> Iterator[Grid]:
    """One table for each forget set and rule, in the layout of the SalUn paper."""
    known = columns()
    asked = [name for name in known if name in content["config"]["metrics"]]
    gapped = [name for name in GAPPED if name in asked]
    ensemble = [name for name in ("KLoM", "U-LiRA") if name in asked]  # what says most, first
    others = [name for name in asked if name not in (*gapped, *ensemble)]
    average = [AVERAGE, CHANCE] if gapped == list(GAPPED) else []
    headings = (*ensemble, *gapped, *average, SECONDS, ROWS, *others)
    for forget_set in names_of(content, "forget_sets", "forget_set"):
        for rule in rules_of(content):
            yield Grid(
                f"{content['name']}: {forget_set}, settings chosen {by(rule)}",
                headings,
                tuple(_lines(content, forget_set, rule, average)),
                units={
                    **{n: known[n].unit for n in asked},
                    **({"KLoM": "nats, mean of three p95"} if "KLoM" in asked else {}),
                    **{SECONDS: "s", ROWS: "of retraining"},
                },
                missing=_missing(content, forget_set, rule, headings),
                errors=(AVERAGE, *(n for n in asked if n == "KLoM" or n.startswith("U-LiRA"))),
                aside=(ORIGINAL,),
                smallest=(AVERAGE, SECONDS, ROWS, *(("KLoM",) if "KLoM" in asked else ())),
            )


def _lines(content: Content, forget_set: str, rule: str, average: list[str]) -> Iterator[Line]:
    config = content["config"]
    asked = [name for name in columns() if name in config["metrics"]]
    names = [entry["label"] for entry in config["candidates"]]
    oracles, null = (cells_of(content, forget_set, role, None) for role in (ORACLE, RETRAIN))
    for method in (RETRAIN, ORIGINAL, *names):
        own = cells_of(content, forget_set, method, rule if method in names else None)
        note, cells = _note(method, content), {}
        if len(own) < len(config["seeds"]):
            yield Line(method, cells, note=note)
            continue
        for name in asked:
            if "values" in (oracles[0]["scores"][name] or {}):
                # the line of retraining shows the models that judge
                cells[name] = _of_models(name, oracles if method == RETRAIN else own, oracles)
            else:  # they cannot judge themselves in these: the second group does
                cells[name] = _of_all(name, own, null, config["members"])
        if average and (method != RETRAIN or config["members"] >= SECOND):
            cells |= _averages(own, oracles)
        if method != ORIGINAL:
            cells[SECONDS] = _plain([cell["cost"]["seconds"] for cell in own])
            cells[ROWS] = _plain([cell["cost"]["relative_to_retrain"] for cell in own])
        yield Line(method, cells, note=note)


def _averages(own: list[Content], oracles: list[Content]) -> dict[str, Cell | None]:
    """The average gap, and what a method equal to retraining would be expected to score."""
    found = gaps_between(own, oracles)
    if found is None:
        return {}
    models = len(values_of(own, GAPPED[0]))
    by_chance = None if found.chance is None else Cell(found.chance, n=models)
    return {AVERAGE: Cell(found.average, found.se, models), CHANCE: by_chance}


def _of_models(name: str, own: list[Content], oracles: list[Content]) -> Cell | None:
    """A metric with a number a model; its gap is to the models that judge."""
    if any(cell["scores"][name] is None for cell in own):
        return None
    values, wanted = values_of(own, name), values_of(oracles, name)
    if None in values:  # a loss that was never relearnt has no mean
        return None
    whole = torch.tensor(values, dtype=torch.float64)
    if own is oracles or None in wanted:
        return Cell(float(whole.mean()), float(whole.std()) if len(whole) > 1 else None, len(whole))
    found = gap(whole, torch.tensor(wanted, dtype=torch.float64))
    return Cell(found.mean, found.sd, len(whole), found.gap, found.se)


def _of_all(name: str, own: list[Content], null: list[Content], members: int) -> Cell | None:
    """A metric with one number for all models of a seed; its gap is to that of the null."""
    scores = [cell["scores"][name] for cell in own]
    if any(score is None or score["value"] is None or score.get("hidden") for score in scores):
        return None
    mean = sum(score["value"] for score in scores) / len(scores)
    errors = [error_of(score) for score in scores]
    known = [error for error in errors if error is not None]
    spread = sum(e**2 for e in known) ** 0.5 / len(known) if len(known) == len(errors) else None
    wanted = [cell["scores"][name] for cell in null]
    apart = None
    if own[0]["method"] != RETRAIN and all(w and w["value"] is not None for w in wanted):
        apart = mean - sum(w["value"] for w in wanted) / len(wanted)
    return Cell(mean, spread, members * len(scores), apart)


def error_of(score: Content) -> float | None:
    """The standard error of a number that all models have together."""
    if "low" in score:  # a 95 % interval
        return (score["high"] - score["low"]) / (2 * 1.96)
    se = score.get("se")
    return se["mean"] if isinstance(se, dict) else se


def _plain(values: list[float | None]) -> Cell | None:
    """A number of each seed, the mean over its models."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    whole = torch.tensor(known, dtype=torch.float64)
    sd = float(whole.std()) if len(whole) > 1 else None
    return Cell(float(whole.mean()), sd, len(whole))


def _missing(
    content: Content, forget_set: str, rule: str, columns: tuple[str, ...]
) -> dict[str, str]:
    """Why entries are empty."""
    why: dict[str, str] = {f"{ORIGINAL}/{n}": "nothing was done" for n in (SECONDS, ROWS)}
    tried = {
        choice["method"]: choice
        for choice in content["choices"]
        if choice["forget_set"] == forget_set
    }
    for method in (RETRAIN, ORIGINAL, *tried):
        own = cells_of(content, forget_set, method, rule if method in tried else None)
        wanted = len(content["config"]["seeds"])
        if len(own) < wanted:
            reason = _failure(content, forget_set, method, rule, tried[method])
            why |= {f"{method}/{column}": reason for column in columns}
            continue
        if method == RETRAIN and content["config"]["members"] < SECOND:
            why |= {
                f"{method}/{n}": "it is what the others are judged by" for n in (AVERAGE, CHANCE)
            }
        for cell in own:
            why |= {f"{method}/{n}": r for n, r in cell["not_measured"].items() if n in columns}
            curve = cell["scores"].get("relearn")
            if curve and None in curve["values"]:
                why[f"{method}/relearn"] = f"not back within {curve['cap']} epochs for some model"
            for name, score in cell["scores"].items():
                if score and "value" in score and score["value"] is None and name in columns:
                    why[f"{method}/{name}"] = "too few pairs for such a rate"
                if score and score.get("hidden"):
                    why[f"{method}/{name}"] = (
                        "its models are so far apart that the histogram cannot resolve them"
                    )
    return {place: reason for place, reason in why.items() if place.partition("/")[2] in columns}


def _failure(content: Content, forget_set: str, method: str, rule: str, choice: Content) -> str:
    """Why a method has no cell on some seed."""
    for entry in content["failed"]:
        same = (entry["forget_set"], entry["method"]) == (forget_set, method)
        if same and rule in entry["rules"]:
            return f"failed on seed {entry['seed']}: {entry['why']}"
    reasons = [trial["failed"] for trial in choice["trials"] if trial["failed"]]
    return reasons[0] if reasons else "no trial could be chosen"


def by(rule: str) -> str:
    """How settings were chosen."""
    return {
        "oracle-free": "without retrained models",
        "oracle": "by retrained models that do not judge",
        "fixed": "in the config",
    }[rule]


def _note(method: str, content: Content) -> str:
    if method == ORIGINAL:
        return "the trained models as they are: nothing was forgotten"
    kinds = {e["label"]: e["name"] for e in content["config"]["candidates"]}
    needs = METHODS[kinds[method]].needs if method in kinds else frozenset()
    if "change" in needs:
        return "the cost of its attribution is not in RTE"
    return "the cost of its teachers is not in RTE" if "teachers" in needs else ""
