"""The content of audit.json: every number recomputed from the evidence, the rest declared.

Its schema is described in docs/audit_json.md. The inverse is `declared_part`: a document is true
to its evidence where `differences(old, document(evidence, declared_part(old)))` finds nothing.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from expunge.audit.evidence.folder import Evidence
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.metrics import TABLES
from expunge.audit.metrics.distance import MIN_ORACLES
from expunge.audit.metrics.klom import BINS, FLOOR
from expunge.audit.metrics.klom_table import MIN_MODELS
from expunge.audit.metrics.resample import BLOCKS, SEED, SPLITS
from expunge.audit.verdict.differences import differences as differences
from expunge.audit.verdict.examination import Examination
from expunge.audit.verdict.judge import DELTA
from expunge.errors import BadInput, nearest

SCHEMA = "expunge.audit/1"
SETTINGS = {
    "bins": BINS,
    "floor": FLOOR,
    "delta": DELTA,
    "convention": "expunge",
    "splits": SPLITS,
    "seed": SEED,
    "blocks": BLOCKS,
    "min_models": {"klom": MIN_MODELS, "distance": MIN_ORACLES},
}
PROBLEM = ("kind", "judged_on", "duplicates")
METHOD = ("claim", "claim_detail", "changed", "reason", "settings", "cost", "shared_cost")


def document(evidence: Evidence, declared: Mapping[str, Any]) -> dict[str, Any]:
    """Build the content of audit.json.

    Args:
        evidence: the arrays.
        declared: what cannot be recomputed: "problem" (facts, among them "kind", "judged_on" and
            "duplicates"), "run" (facts), and "methods": name -> {"claim", "claim_detail",
            "changed", "reason", "settings", "cost", "shared_cost"}.

    Returns:
        A dictionary of plain JSON values, without NaN.

    Raises:
        BadInput: what is declared is incomplete, does not fit the evidence, or is not JSON.
    """
    declared = _plain(declared)
    _check(declared, evidence)
    exam = Examination(evidence)
    original = exam.entry(evidence.original)
    methods = {}
    for name, file in evidence.unlearned.items():
        entry = declared["methods"][name] | exam.entry(file)
        methods[name] = entry | exam.verdict(file, entry, original)
    return {
        "schema": SCHEMA,
        "problem": declared["problem"],
        "run": declared["run"],
        "groups": {
            "rows": dict(zip(GROUPS, evidence.sizes, strict=True)),
            "models": {
                "original": len(evidence.original["forget"]),
                "oracle": len(evidence.oracle["forget"]),
                "null": len(evidence.null["forget"]) if evidence.null else 0,
                "unlearned": {n: len(file["forget"]) for n, file in evidence.unlearned.items()},
            },
            "models_used": exam.largest,
        },
        "settings": _plain(SETTINGS),
        "null": exam.null,
        "original": original,
        "methods": methods,
        "not_measured": exam.not_measured(),
    }


def declared_part(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document declares: the second argument that would build it again.

    Args:
        document: the content of an audit.json.

    Returns:
        {"problem", "run", "methods"}, as `document` takes it.

    Raises:
        BadInput: it is not a document of this version.
    """
    try:
        schema = document["schema"]
        declared = {
            "problem": document["problem"],
            "run": document["run"],
            "methods": {
                name: {key: entry[key] for key in METHOD}
                for name, entry in document["methods"].items()
            },
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _foreign(f"the document lacks a part ({error!r})") from error
    if schema != SCHEMA:
        raise _foreign(f"the document's schema is {schema!r}")
    return declared


def as_written(old: Mapping[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A document without the metrics that another was written without, before there were any.

    Args:
        old: the document of a file.
        new: the document that its evidence gives.
    """
    parts = [(old.get(key), new[key]) for key in ("null", "original")]
    parts += [(old["methods"].get(name), entry) for name, entry in new["methods"].items()]
    parts += [(a.get("null"), b["null"]) for a, b in parts if a and "null" in b]
    known = set(old.get("not_measured", ()))
    for before, after in parts:
        if not isinstance(before, Mapping):
            continue
        known |= {*before, *before.get("metrics", ())}
        for name in [name for name in ("metrics", *TABLES) if name not in before]:
            after.pop(name, None)
        single = after.get("metrics", {})
        for name in single.keys() - before.get("metrics", {}).keys():
            del single[name]
    unknown = {n for n in new["not_measured"] if n.partition(".sd")[0] not in known}
    for name in unknown:
        del new["not_measured"][name]
    return new


def _foreign(given: str) -> BadInput:
    return BadInput(
        given,
        expected=f"an audit.json of schema {SCHEMA}",
        fix="give the audit.json that lies with the evidence, or use the version that wrote it",
    )


def _plain(value: Any) -> Any:
    # what is written and read again must compare equal: tuples become lists, NaN is refused
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"something declared cannot be written as JSON ({error})",
            expected="dictionaries, lists, strings, finite numbers, true, false and null",
            fix="convert tensors, paths and dates first; write None for an unknown number",
        ) from error


def _check(declared: Any, evidence: Evidence) -> None:
    _require("declared", declared, ("problem", "run", "methods"))
    problem, methods = declared["problem"], declared["methods"]
    _require("declared problem", problem, PROBLEM)
    if problem["kind"] != evidence.kind:
        raise BadInput(
            f"the problem is declared as {problem['kind']!r}",
            expected=f"{evidence.kind!r}, as the evidence was read",
            fix="read the evidence as the kind that the problem has",
        )
    if problem["judged_on"] not in ("test", "validation"):
        raise BadInput(
            f"judged_on is {problem['judged_on']!r}",
            expected='"test" or "validation"',
            fix="say which rows the group named test holds",
        )
    for name in sorted({*methods, *evidence.unlearned}):
        if name not in methods or name not in evidence.unlearned:
            where = "declared" if name in methods else "among the evidence"
            others = evidence.unlearned if name in methods else methods
            raise BadInput(
                f"method {name!r} is only {where}{nearest(name, others)}",
                expected="each method both declared and in a file unlearned-<method>.safetensors",
                fix="declare it, or write its outputs",
            )
        _require(f"declared method {name!r}", methods[name], METHOD)
        _check_changed(name, methods[name])


def _check_changed(name: str, stated: dict[str, Any]) -> None:
    changed, reason = stated["changed"], stated["reason"]
    number = isinstance(changed, int | float) and not isinstance(changed, bool)
    if not (changed is None or (number and 0 <= changed < math.inf)) or not isinstance(reason, str):
        raise BadInput(
            f"method {name!r} declares changed={changed!r}, reason={reason!r}",
            expected="a number of at least 0 or None, and a string",
            fix='give the largest change of a weight, None if unknown, and "" for no reason',
        )


def _require(what: str, value: Any, keys: tuple[str, ...]) -> None:
    lacking = [k for k in keys if not isinstance(value, dict) or k not in value]
    if lacking:
        raise BadInput(
            f"{what} lacks {', '.join(lacking)}",
            expected=f"a dictionary with {', '.join(keys)}",
            fix="state them; None where unknown",
        )
