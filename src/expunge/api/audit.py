"""audit(): judge one unlearned model against freshly retrained oracles, or any arrays on disk."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor, nn

from expunge import store
from expunge.api.card import Card, after_card, require_rows, weights_digest
from expunge.api.collect_outputs import collect_outputs
from expunge.api.compare import publish
from expunge.api.forget import Forgotten, as_module, chosen_workshop
from expunge.api.panel import Panel, require_place, require_shown, swapped, write_evidence
from expunge.api.provenance import UNKNOWN_COST, as_list, problem_facts, run_facts
from expunge.api.published_ids import published_ids
from expunge.api.require_fit import require_fit
from expunge.audit.evidence.folder import manifest, read
from expunge.audit.evidence.manifest import evidence_files
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.fanout import one_thread
from expunge.fanout.runtime import Runtime
from expunge.methods.method import largest_change
from expunge.problem import Problem
from expunge.store.locks import exclusive
from expunge.training.model_cache import ModelCache

FEWEST_ORACLES = 10  # below, `distance` has no meaning


def audit(
    problem: Problem,
    model: nn.Module | Path | str,
    unlearned: nn.Module | Path | str | Forgotten,
    *,
    oracles: int = 20,
    out: Path | str,
    seed: int | None = None,
    runtime: Runtime | None = None,
    device: str | None = None,
    build: Any = None,
    pictures: Tensor | None = None,
    texts: Sequence[str] | None = None,
    name: str = "unlearned",
    command: str = "",
) -> dict[str, Any]:
    """Judge one model by its distance from oracles trained without the forgotten rows.

    Args:
        problem: with a recipe or Trainer. Its `forget` names the rows, unless `unlearned` is a
            result of `forget` or a path with a card, which know them.
        model: the original, before forgetting: a module or a path of weights.
        unlearned: the model to judge.
        oracles: models to train and to judge by, at least 10.
        out: folder for evidence, audit.json and report.html.
        seed: of the oracles; default the runtime's.
        runtime: where oracles are made and kept; default `.expunge`.
        device: where it runs; default the runtime's.
        build: makes an untrained model, where weights are read and the problem has no Recipe.
        pictures: of the forgotten rows for the report, uint8, (rows, H, W) or (rows, H, W, 3).
        texts: of the forgotten rows for the report, one a row, in the order of `problem.forget`;
            whoever gets the evidence or the report can read them.
        name: the method's name in the report, where no card says it.
        command: what repeats this run, for the report.

    Returns:
        The content of audit.json.

    Raises:
        BadInput: too few oracles; no rows to forget; a card of another parent; other numbers of
            pictures or texts than of forgotten rows.
    """
    start, out = perf_counter(), Path(out)
    if oracles < FEWEST_ORACLES:
        raise BadInput(
            f"{oracles} oracles",
            expected=f"at least {FEWEST_ORACLES} for a distance (KLoM needs 50 models a side)",
            fix="raise --oracles",
        )
    original, _ = as_module(model, problem, build)
    if isinstance(unlearned, Forgotten):
        judged, card = unlearned.model, unlearned.card
    else:
        judged, card = as_module(unlearned, problem, build)
    problem = _question(problem, original, card)
    runtime = chosen_workshop(runtime, seed, device)
    require_place(out)
    require_shown(problem, pictures, texts)
    cache, panel = ModelCache(problem, runtime), Panel.of(problem)
    before, after = Ensemble.of(original), Ensemble.of(judged)
    with one_thread():
        for models in (before, after):
            require_fit(problem, models)
    cache.make({"oracle": oracles})
    method = card.method if card else name
    with one_thread():
        outputs = {
            "original": [panel.answers(problem, before)],
            f"unlearned-{method}": [panel.answers(problem, after)],
        }
    seen = collect_outputs(cache, panel, {"oracle": oracles})
    entry = _entry(card, largest_change(before, after))
    declared = {
        "problem": {**problem_facts(problem, runtime.progress, cache.content), "members": 1},
        "run": run_facts(
            command,
            runtime.seed,
            perf_counter() - start,
            original=weights_digest(original),
            unlearned=weights_digest(judged),
        ),
        "methods": {method: entry},
    }
    blank = panel.untrained(cache)
    with exclusive(out):
        everything = {**outputs, **seen}
        people = published_ids(problem, problem.forget.tolist())
        shown = pictures, texts, people, blank
        write_evidence(out / "evidence", everything, panel.targets(problem), *shown)
        return publish(out, problem.task.kind, declared, progress=runtime.progress)


def audit_evidence(
    folder: Path | str, *, out: Path | str, kind: str = "classification", command: str = ""
) -> dict[str, Any]:
    """Judge arrays alone, from any framework; no model, no problem.

    Args:
        folder: `original`, `oracle`, `unlearned-<method>` (and, if there is one, `null`) and
            `targets`, all `.safetensors`, and perhaps pictures, texts or ids of the forgotten rows;
            see docs/audit_json.md. Its own files are not changed.
        out: folder for a copy of the evidence, audit.json and report.html.
        kind: "classification", "regression" or another word, whose arrays then hold margins.
        command: what repeats this run, for the report.

    Returns:
        The content of audit.json. What arrays cannot tell (claim, cost, change of weights) is null.
    """
    start, folder, out = perf_counter(), Path(folder), Path(out)
    if not folder.is_dir():
        raise BadInput(
            f"there is no folder {folder}", expected="a folder of evidence", fix="check the path"
        )
    if (folder / "evidence").is_dir():
        folder = folder / "evidence"
    evidence = read(folder, kind, verify_manifest=(folder / "manifest.json").exists())
    target = out / "evidence"
    if target.resolve() != folder.resolve():
        require_place(out)
    rows = evidence.targets
    declared = {
        "problem": {
            "name": f"arrays in {folder.name}",
            "kind": kind,
            "rows": None,
            "forget_rows": len(rows["forget_rows"]),
            "persons": None if evidence.people is None else len(set(evidence.people)),
            "persons_partly": None,
            "forgotten_before": None,
            "judged_on": "test",
            "duplicates": [],
            "members": len(evidence.original["forget"]),
        },
        "run": run_facts(command, 0, perf_counter() - start),
        "methods": {
            name: {
                "claim": "not stated",
                "claim_detail": {"note": "arrays alone do not say how the model was made"},
                "changed": None,
                "reason": "",
                "settings": {},
                "cost": UNKNOWN_COST,
                "shared_cost": None,
            }
            for name in evidence.unlearned
        },
    }
    with exclusive(out):
        if target.resolve() != folder.resolve():
            with swapped(target) as fresh:
                for name in evidence_files(folder):
                    with (folder / name).open("rb") as file, store.writing(fresh / name) as copy:
                        shutil.copyfileobj(file, copy)
        elif not (target / "manifest.json").exists():
            store.write_json(target / "manifest.json", manifest(target))
        return publish(out, kind, declared)


def _question(problem: Problem, original: nn.Module, card: Card | None) -> Problem:
    """The problem that the unlearned model answers: rows gone before, and rows of this request."""
    if card is not None:
        if card.parent != weights_digest(original):
            raise BadInput(
                "the unlearned model's card names another parent than the model given",
                expected=f"the original with digest {card.parent[:12]}...",
                fix="pass as --model the weights that it was made from",
            )
        named = as_list(problem.forget)
        require_rows(problem, card)
        if named and named != card.forgotten:
            first = min({*named} ^ {*card.forgotten})
            raise BadInput(
                f"{len(named)} rows were named, but the model's card says that it was to forget "
                f"{len(card.forgotten)} others; {problem.row_name(first)} is in one list only",
                expected="the rows of the card, or none",
                fix="leave the rows out",
            )
        before = replace(card, forgotten=[], people=None)  # its ids are checked above
        present = problem.present_mask.clone()
        present[card.forgotten] = True  # the question is put as it was before this request
        asked = replace(problem, forget=problem.forget[:0], present=present)
        return after_card(asked, before).forgetting(card.forgotten)
    if not len(problem.forget):
        raise BadInput(
            "it is not known which rows the model was to forget",
            expected="a model with a card, or a problem with rows to forget",
            fix="pass problem.forgetting(rows), or --rows",
        )
    return problem


def _entry(card: Card | None, changed: float) -> Mapping[str, Any]:
    if card is None:
        return {
            "claim": "not stated",
            "claim_detail": {"note": "the model came without a card"},
            "changed": changed,
            "reason": "",
            "settings": {},
            "cost": UNKNOWN_COST,
            "shared_cost": None,
        }
    return {
        "claim": card.claim,
        "claim_detail": card.claim_detail,
        "changed": changed,
        "reason": card.reason,
        "settings": card.settings,
        "cost": card.cost,
        "shared_cost": card.shared_cost,
    }
