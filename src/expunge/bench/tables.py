"""Tables of bench.json in the layout of the SalUn paper: a line a method, gaps to retraining."""

from collections.abc import Iterator

import torch

from expunge.audit.gap import gap
from expunge.bench.content import (
    ORIGINAL,
    RETRAIN,
    Content,
    cells_of,
    gaps_of,
    names_of,
    rules_of,
    values_of,
)
from expunge.bench.metrics import GAPPED, METRICS
from expunge.methods import METHODS
from expunge.report.bench.grid import Cell, Grid, Line

AVERAGE, SECONDS, ROWS = "Avg. Gap", "RTE", "Rows"


def tables(content: Content) -> Iterator[Grid]:
    """One table for each forget set and rule, in the layout of the SalUn paper."""
    asked = [name for name in METRICS if name in content["config"]["metrics"]]
    gapped = [name for name in GAPPED if name in asked]
    others = [name for name in asked if name not in gapped]
    average = [AVERAGE] if gapped == list(GAPPED) else []
    columns = (*gapped, *average, SECONDS, ROWS, *others)
    for forget_set in names_of(content, "forget_sets", "forget_set"):
        for rule in rules_of(content):
            yield Grid(
                f"{content['name']}: {forget_set}, settings chosen {_by(rule)}",
                columns,
                tuple(_lines(content, forget_set, rule, average)),
                units={**{n: METRICS[n].unit for n in asked}, SECONDS: "s", ROWS: "of retraining"},
                missing=_missing(content, forget_set, rule, columns),
                errors=(AVERAGE, "KLoM", *(name for name in asked if name.startswith("U-LiRA"))),
                aside=(ORIGINAL,),
                smallest=(AVERAGE, SECONDS, ROWS, *(("KLoM",) if "KLoM" in asked else ())),
            )


def _lines(content: Content, forget_set: str, rule: str, average: list[str]) -> Iterator[Line]:
    retrained = cells_of(content, forget_set, RETRAIN, None)
    names = [e["label"] for e in content["config"]["contestants"]]
    models = content["config"]["members"]
    for method in (RETRAIN, ORIGINAL, *names):
        own = cells_of(content, forget_set, method, rule if method in names else None)
        cells: dict[str, Cell | None] = {}
        for name in (n for n in METRICS if n in content["config"]["metrics"]):
            cells[name] = _cell(name, own, retrained, method == RETRAIN, models)
        found = gaps_of(content, forget_set, method, rule if method in names else None)
        if average and found:
            cells[AVERAGE] = Cell(found.average, found.se, models * len(own))
        if own and method != ORIGINAL:
            cells[SECONDS] = _plain([cell["cost"]["seconds"] for cell in own], models)
            cells[ROWS] = _plain([cell["cost"]["relative_to_retrain"] for cell in own], models)
        yield Line(method, cells, note=_note(method, content))


def _cell(
    name: str, own: list[Content], retrained: list[Content], reference: bool, models: int
) -> Cell | None:
    joint = [cell["scores"].get(name) for cell in own]
    if not joint or any(score is None for score in joint):
        return None
    if "values" not in joint[0]:
        known = [score["value"] for score in joint]
        if any(value is None for value in known):
            return None
        se = joint[0].get("se")
        spread = se["mean"] if isinstance(se, dict) else se
        wanted = [cell["scores"].get(name) for cell in retrained]
        mean = sum(known) / len(known)
        apart = None
        if not reference and all(w and w["value"] is not None for w in wanted):
            apart = mean - sum(w["value"] for w in wanted) / len(wanted)
        return Cell(mean, spread, models * len(known), apart)
    values = values_of(own, name)
    if any(value is None for value in values):  # a loss that was never relearnt has no mean
        return None
    whole = torch.tensor(values, dtype=torch.float64)
    sd = float(whole.std()) if len(whole) > 1 else None
    wanted = [value for value in values_of(retrained, name) if value is not None]
    if reference or len(wanted) < len(values_of(retrained, name)):
        return Cell(float(whole.mean()), sd, len(whole))
    found = gap(whole, torch.tensor(wanted, dtype=torch.float64))
    return Cell(found.mean, found.sd, len(whole), found.gap, found.se)


def _plain(values: list[float | None], models: int) -> Cell | None:
    """A number of each seed, the mean over its models."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    whole = torch.tensor(known, dtype=torch.float64)
    sd = float(whole.std()) if len(whole) > 1 else None
    return Cell(float(whole.mean()), sd, models * len(whole))


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
            reasons = [trial["failed"] for trial in tried[method]["trials"] if trial["failed"]]
            reason = reasons[0] if reasons else "it failed on the judged models"
            why |= {f"{method}/{column}": reason for column in columns}
            continue
        for cell in own:
            why |= {f"{method}/{n}": r for n, r in cell["not_measured"].items() if n in columns}
            curve = cell["scores"].get("relearn")
            if curve and None in curve["values"]:
                why[f"{method}/relearn"] = f"not back within {curve['cap']} epochs for some model"
            for name, score in cell["scores"].items():
                if score and "value" in score and score["value"] is None and name in columns:
                    why[f"{method}/{name}"] = "too few pairs for such a rate"
    return why


def _by(rule: str) -> str:
    return {
        "oracle-free": "without retrained models",
        "oracle": "by retrained models that do not judge",
        "fixed": "in the config",
    }[rule]


def _note(method: str, content: Content) -> str:
    if method == ORIGINAL:
        return "the trained models as they are: nothing was forgotten"
    kinds = {e["label"]: e["name"] for e in content["config"]["contestants"]}
    needs = METHODS[kinds[method]].needs if method in kinds else frozenset()
    if "change" in needs:
        return "the cost of its attribution is not in RTE"
    return "the cost of its teachers is not in RTE" if "teachers" in needs else ""
