"""The metrics of a benchmark's columns, and what a cell scores in them.

They are those of an audit over the same evidence; `expunge verify` repeats all of it.
"""

from dataclasses import replace

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.metrics import METRICS, TABLES, Metric, klom_table
from expunge.audit.metrics.metric import Score

GAPPED = ("UA", "RA", "TA", "MIA")  # averaged into the average gap, as in the published tables


def _klom(file: Outputs, evidence: Evidence) -> Score:
    """95th percentiles by group and their mean, with errors, and whether outliers hide rows."""
    table = METRICS["klom"].measure(file, evidence)
    parts = {group: table[group]["p95"] for group in GROUPS} | {"mean": table["average_p95"]}
    errors = {group: table[group]["se"] for group in GROUPS} | {"mean": table["average_se"]}
    hidden = bool(klom_table.hidden_groups(file, evidence))
    return {"value": parts["mean"], "parts": parts, "se": errors, "hidden": hidden}


def columns() -> dict[str, Metric]:
    """The metrics of a benchmark by their column."""
    return {
        **{name: metric for name, metric in METRICS.items() if name not in TABLES},
        "KLoM": replace(METRICS["klom"], name="KLoM", measure=_klom),
    }


def scores(
    names: tuple[str, ...], file: Outputs, evidence: Evidence
) -> tuple[dict[str, Score | None], dict[str, str]]:
    """Measure the models of a file; what was not measured is None, with the reason."""
    known, found = columns(), {}
    missing = {name: "not asked for in the config" for name in known if name not in names}
    for name in names:
        lacking = known[name].lacking(file, evidence)
        if not lacking and file is evidence.oracle and _against_oracles(name):
            lacking = "these are the oracles that judge"
        if lacking:
            missing[name] = lacking
        found[name] = None if lacking else known[name].measure(file, evidence)
    return found, missing


def _against_oracles(name: str) -> bool:
    return name in ("KLoM", "nearer") or name.startswith("U-LiRA")
