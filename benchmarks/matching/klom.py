"""KLoM of every cell in both conventions, as records, claims and a table."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import result
from benchmarks.matching.rivals import ALONE, COMBINED
from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.metrics.klom import klom
from expunge.audit.metrics.resample import jackknife
from expunge.bench.content import ORACLE, ORIGINAL, Content
from expunge.bench.rescore import file_of, folders, opened
from expunge.methods import METHODS

BUDGET = 0.05
OURS = (ALONE, COMBINED, "dmm, datamodels")  # named before anything is scored
MATCHING = "oracle-matching"
NOTE = """\
95th percentiles over rows and their mean, ± one standard error; *: outliers hide too many rows.
Published for CIFAR-10, 100 models, paper's convention, read off a figure: original, forgotten rows
9.1 to 10.0, others about 0.65; retrained models 0.77 to 0.86; of dmm and oracle matching no number.
"""
PARTS = ("forget", "retain", "test", "mean")
Record = dict[str, Any]


def records(content: Content, folder: Path) -> list[Record]:
    """What every cell but the judging oracles scores; KLoM is None where it was not measured."""
    found, places = [], folders(content)
    known: dict[str, Evidence] = {}
    names = {e["label"]: e["name"] for e in content["config"]["candidates"]}
    for cell in content["cells"]:
        if cell["method"] == ORACLE:
            continue
        place = places[cell["forget_set"], cell["seed"]]
        known = known if place in known else {place: opened(folder, place)}
        evidence = known[place]
        ours, label = cell["scores"]["KLoM"], cell["method"]
        kind = names.get(label, "")
        found.append(
            {
                **{key: cell[key] for key in ("forget_set", "method", "rules", "settings")},
                "free": label == ORIGINAL or bool(kind and not METHODS[kind].needs),
                "cost": cell["cost"]["relative_to_retrain"],
                "klom": ours,
                "klom_paper": ours and paper(file_of(evidence, cell["file"]), evidence),
            }
        )
    return found


def paper(file: Outputs, evidence: Evidence) -> Record:
    """KLoM by the paper's convention: 95th percentiles by group, their mean, jackknife errors."""
    sides = evidence.margins(file)[:], evidence.margins(evidence.oracle)[:]
    count = min(map(len, sides))

    def percentiles(unlearned: Tensor, oracle: Tensor) -> Tensor:
        parts = klom(unlearned, oracle, convention="paper").split(evidence.sizes)
        values = torch.stack([part.quantile(0.95) for part in parts])
        return torch.cat([values, values.mean()[None]])

    ours, oracle = (side[:count] for side in sides)
    values, errors = percentiles(ours, oracle), jackknife(percentiles, ours, oracle)
    named = [dict(zip(PARTS, x.tolist(), strict=True)) for x in (values, errors)]
    return {"value": named[0]["mean"], "parts": named[0], "se": named[1], "hidden": False}


def claims(found: list[Record], name: str) -> list[dict]:
    """On one forget set: is dmm nearer than what needs no attribution, and cheap?"""
    made = []
    rivals = [r for r in found if r["forget_set"] == name and r["free"] and _scored(r)]
    rival = min(rivals, key=lambda r: r["klom"]["value"], default=None)
    matching = _chosen(found, name, MATCHING)
    for ours in filter(None, (_chosen(found, name, label) for label in OURS)):
        label, best = ours["method"], rival["method"] if rival else "none was measured"
        made += [
            _difference(f"KLoM of {label} less the best other's ({best}), {name}", ours, rival),
            _difference(f"KLoM of {MATCHING} less that of {label}, {name}", matching, ours),
            result.claim(f"cost of {label}, in retrainings, {name}", ours["cost"], BUDGET),
        ]
    return made


def table(found: list[Record], name: str) -> str:
    """In Markdown: what was chosen, by our convention and by the paper's."""
    head = ["", "cost", *(f"{part}, {who}" for who in ("ours", "paper's") for part in PARTS)]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    for record in found:
        if record["forget_set"] == name and (record["rules"] or not record["settings"]):
            both = (record["klom"], record["klom_paper"])
            numbers = [_shown(scores, part) for scores in both for part in PARTS]
            lines.append([record["method"], f"{record['cost']:.3f}", *numbers])
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"## {name}\n\n{rows}"


def _chosen(found: list[Record], name: str, label: str) -> Record | None:
    fitting = (r for r in found if (r["forget_set"], r["method"]) == (name, label) and r["rules"])
    return next(fitting, None)


def _difference(what: str, ours: Record | None, theirs: Record | None) -> dict:
    """A claim that ours is at most theirs."""
    return result.difference(what, _scored(ours), _scored(theirs))


def _scored(record: Record | None) -> result.Scored | None:
    if record is None or not record["klom"] or record["klom"]["hidden"]:
        return None
    return record["klom"]["value"], record["klom"]["se"]["mean"]


def _shown(scores: Record | None, part: str) -> str:
    if scores is None:
        return "not measured"
    return f"{scores['parts'][part]:.2f} ±{scores['se'][part]:.2f}" + "*" * scores["hidden"]
