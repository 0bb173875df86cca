"""compare(): several methods on ensembles of one problem, judged against oracles by KLoM."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from expunge import report, store
from expunge.api.attribution_cost import shared_cost
from expunge.api.collect_outputs import collect_outputs, row_digest, unlearn
from expunge.api.needs import HALF_MODELS, Needs, from_file
from expunge.api.panel import Panel, require_place, require_shown, write_evidence
from expunge.api.predictions import Predictions
from expunge.api.provenance import cost_facts, problem_facts, run_facts
from expunge.api.published_ids import published_ids
from expunge.api.require_fit import require_methods, require_recipe_fit, require_trained_fit
from expunge.attribution.fit import fit
from expunge.audit.evidence.folder import read
from expunge.audit.verdict.document import document
from expunge.errors import BadInput
from expunge.fanout import bar
from expunge.fanout.runtime import Runtime
from expunge.methods import Method, settings
from expunge.problem import Problem
from expunge.store.locks import exclusive
from expunge.training.model_cache import ModelCache


def compare(
    problem: Problem,
    methods: Mapping[str, Method],
    *,
    out: Path | str,
    runtime: Runtime,
    members: int = 100,
    half_models: int = HALF_MODELS,
    pictures: Tensor | None = None,
    texts: Sequence[str] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Forget with every method, judge, and write evidence, audit.json and report.html.

    Trains `members` originals, oracles and further oracles for the null, and what the methods
    need; whatever the runtime's store holds already is not made again, so a killed run resumes.

    Args:
        problem: with a recipe, and with rows to forget.
        methods: by the name they go by in the results, e.g. {"fine-tune": FineTune()}; each
            runs on all originals.
        out: folder of the results.
        runtime: store, seed, processes, device.
        members: models on each side.
        half_models: for methods that need predicted changes; those of a file that a method's
            `attribution` names, where one does.
        pictures: of the forgotten rows for the report, uint8, (rows, H, W) or (rows, H, W, 3).
        texts: of the forgotten rows for the report, one a row, in the order of `problem.forget`;
            whoever gets the evidence or the report can read them.
        command: what repeats this run, for the report.

    Returns:
        The content of audit.json.

    Raises:
        BadInput: no rows to forget, no recipe, an output folder that cannot be written, or other
            numbers of pictures or texts than of forgotten rows.
    """
    start, out = perf_counter(), Path(out)
    if not len(problem.forget):
        raise BadInput(
            "there are no rows to forget",
            expected="at least one row",
            fix="use problem.forgetting([...])",
        )
    for name in methods:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise BadInput(
                f"a method goes by the name '{name}'",
                expected="a name of letters, digits, dots, dashes (it becomes a file's name)",
                fix="choose another name",
            )
    require_place(out)  # before an hour's work, not after
    require_shown(problem, pictures, texts)
    cache = ModelCache(problem, runtime)
    require_recipe_fit(cache)
    given = {name: from_file(one, cache) for name, one in methods.items()}
    methods = {name: one for name, (one, _) in given.items()}
    half_models = min((found.count for _, found in given.values() if found), default=half_models)
    require_methods(problem, methods.values())
    needs = Needs.of(problem, methods.values())
    judged = {role: members for role in ("original", "oracle", "null")}
    cache.make({**judged, **needs.counts(cache, members, half_models)})
    require_trained_fit(cache, members)
    fitted = fit(cache, half_models) if needs.halves else None
    predictions = Predictions(problem, fitted, runtime.seed)

    panel = Panel.of(problem)
    seen = collect_outputs(cache, panel, judged)
    results = unlearn(cache, panel, methods, members, predictions)
    outputs = {**seen, **{f"unlearned-{n}": r.outputs for n, r in results.items()}}

    declared = {
        "problem": {**problem_facts(problem, runtime.progress, cache.content), "members": members},
        "run": run_facts(
            command,
            runtime.seed,
            perf_counter() - start,
            recipe=cache.recipe_id,
            forget_rows=row_digest(problem.forget),
            train_rows=row_digest(cache.content),
        )
        | {"group": cache.group},
        "methods": {
            name: {
                "claim": str(method.claim),
                "claim_detail": results[name].claim_detail,
                "changed": results[name].changed,
                "reason": results[name].reason,
                "settings": settings(method),
                "cost": cost_facts(results[name].cost, problem),
                "shared_cost": shared_cost(
                    problem,
                    method,
                    fitted.count if fitted else half_models,
                    fitted.one if fitted else None,
                ),
            }
            for name, method in methods.items()
        },
    }
    blank = panel.untrained(cache)
    with exclusive(out):
        people = published_ids(problem, problem.forget.tolist())
        shown = pictures, texts, people, blank
        write_evidence(out / "evidence", outputs, panel.targets(problem), *shown)
        return publish(out, problem.task.kind, declared, progress=runtime.progress)


def publish(
    out: Path, kind: str, declared: Mapping[str, Any], *, progress: bool = True
) -> dict[str, Any]:
    """Judge the evidence in `out`, and write audit.json and report.html beside it."""
    with bar("Judging", 3, progress) as advance:
        evidence = read(out / "evidence", kind, verify_manifest=True)
        advance(1)
        judged = document(evidence, declared)
        store.write_json(out / "audit.json", judged)
        advance(1)
        store.write_bytes(out / "report.html", report.page(judged, evidence).encode())
        advance(1)
    return judged
