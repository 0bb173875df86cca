"""KLoM of every cell in both conventions, as records, claims and a table."""

from pathlib import Path
from typing import Any

from benchmarks import result
from benchmarks.matching.rivals import ALONE, COMBINED
from expunge.bench.columns import Reader
from expunge.bench.content import ORACLE, ORIGINAL, Content
from expunge.bench.scores import klom_of
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
    reader, found, oracle = Reader(folder), [], None
    names = {e["label"]: e["name"] for e in content["config"]["contestants"]}
    for number, cell in enumerate(content["cells"]):
        if cell["method"] == ORACLE:
            oracle = reader.read(number)
            continue
        assert oracle is not None, "the oracles of a forget set come first"
        ours, label = cell["scores"]["KLoM"], cell["method"]
        kind = names.get(label, "")
        found.append(
            {
                **{key: cell[key] for key in ("forget_set", "method", "rules", "settings")},
                "free": label == ORIGINAL or bool(kind and not METHODS[kind].needs),
                "cost": cell["cost"]["relative_to_retrain"],
                "klom": ours,
                "klom_paper": ours and klom_of(reader.read(number), oracle, "paper"),
            }
        )
    return found


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
