"""compare(): several methods on ensembles of one problem, judged against oracles by KLoM."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from expunge import report, store
from expunge.api.facts import cost_facts, problem_facts, run_facts
from expunge.api.givens import HALF_MODELS, Needs, attribution_of, shared_cost
from expunge.api.panel import Panel, require_place, write_evidence
from expunge.audit.document import document
from expunge.audit.evidence import read
from expunge.ensemble import ChangeTable, Ensemble
from expunge.errors import BadInput
from expunge.fanout import bar
from expunge.loop import Cost
from expunge.maker import Maker, Workshop
from expunge.methods import Given, Method, settings
from expunge.problem import Problem


def compare(
    problem: Problem,
    methods: Mapping[str, Method],
    *,
    out: Path | str,
    workshop: Workshop,
    members: int = 100,
    half_models: int = HALF_MODELS,
    pictures: Tensor | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Forget with every method, judge, and write evidence, audit.json and report.html.

    Trains `members` originals, oracles and further oracles for the null, and what the methods
    need; whatever the workshop's store holds already is not made again, so a killed run resumes.

    Args:
        problem: with a recipe, and with rows to forget.
        methods: by the name they go by in the results, e.g. {"fine-tune": FineTune()}; each
            runs on all originals.
        out: folder of the results.
        workshop: store, seed, processes, device.
        members: models on each side.
        half_models: for methods that need predicted changes.
        pictures: of the forgotten rows for the report, uint8, (rows, H, W) or (rows, H, W, 3).
        command: what repeats this run, for the report.

    Returns:
        The content of audit.json.

    Raises:
        BadInput: no rows to forget, no recipe, or an output folder that cannot be written.
    """
    start, out = perf_counter(), Path(out)
    if not len(problem.forget):
        raise BadInput(
            "there are no rows to forget",
            expected="at least one row",
            cure="use problem.forgetting([...])",
        )
    for name in methods:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise BadInput(
                f"a method goes by the name '{name}'",
                expected="a name of letters, digits, dots, dashes (it becomes a file's name)",
                cure="choose another name",
            )
    require_place(out)  # before an hour's work, not after
    needs, maker = Needs.of(problem, methods.values()), Maker(problem, workshop)
    judged = {role: members for role in ("original", "oracle", "null")}
    maker.make({**judged, **needs.counts(maker, members, half_models)})
    change, fitted = attribution_of(maker, half_models) if needs.change else (None, None)

    panel = Panel.of(problem)
    seen = observe(maker, panel, judged)
    results = unlearn(maker, panel, methods, members, change)
    outputs = {**seen, **{f"unlearned-{n}": r.outputs for n, r in results.items()}}
    write_evidence(out / "evidence", outputs, panel.targets(problem), pictures)

    declared = {
        "problem": {**problem_facts(problem), "members": members},
        "run": run_facts(
            command,
            workshop.seed,
            perf_counter() - start,
            recipe=maker.recipe_id,
            forget_rows=_digest(problem.forget),
            train_rows=_digest(maker.content),
        )
        | {"group": maker.group},
        "methods": {
            name: {
                "claim": str(method.claim),
                "claim_detail": "",
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
    return publish(out, problem.task.kind, declared, progress=workshop.progress)


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


class Observed:
    """Outputs of models that a method returned, joined over blocks, with what it spent."""

    def __init__(self, blocks: Sequence[store.Stored]) -> None:
        self.outputs = _joined(blocks)
        self.changed = max(block.facts["changed"] for block in blocks)
        self.reason = blocks[0].facts["reason"]
        costs = [(Cost(**block.facts["cost"]), block.facts["members"]) for block in blocks]
        members = sum(count for _, count in costs)
        seconds = sum(cost.seconds * count for cost, count in costs) / members
        self.cost = replace(costs[0][0], seconds=seconds)


def observe(maker: Maker, panel: Panel, counts: Mapping[str, int]) -> dict[str, dict[str, Tensor]]:
    """Outputs on the panel of each role's first members, by role and group."""
    shape = panel.digest(maker.problem)
    tasks, sizes, keys = [], [], {role: [] for role in counts}
    for role, count in counts.items():
        for made, ids in zip(maker.keys(role, count), maker.blocks(count), strict=True):
            key = store.key("observed", models=made, panel=shape)
            keys[role].append(key)
            if maker.workshop.store.load(key) is None:
                tasks.append((maker, panel, role, ids, made, key))
                sizes.append(len(ids))
    if tasks:
        _ = maker.template  # made here once, and not by every process
        maker.workshop.spread(_observe_block, tasks, "Reading outputs", sizes)
    return {role: _joined([maker.kept(key) for key in found]) for role, found in keys.items()}


def unlearn(
    maker: Maker,
    panel: Panel,
    methods: Mapping[str, Method],
    members: int,
    change: ChangeTable | None,
) -> dict[str, Observed]:
    """Run each method on the first originals, block by block; outputs on the panel by name."""
    originals, blocks = maker.keys("original", members), maker.blocks(members)
    shape, forget = panel.digest(maker.problem), _digest(maker.problem.forget)
    tasks, sizes, keys = [], [], {name: [] for name in methods}
    for name, method in methods.items():
        teaching = "teachers" in method.needs
        teachers = maker.keys("teacher", members) if teaching else [""] * len(originals)
        predicted = change if "change" in method.needs else None
        for original, teacher, ids in zip(originals, teachers, blocks, strict=True):
            key = store.key(
                "unlearned",
                method=method.name,
                settings=settings(method),
                original=original,
                teacher=teacher,
                change="" if predicted is None else _change_digest(predicted),
                forget=forget,
                panel=shape,
                seed=maker.workshop.seed,
            )
            keys[name].append(key)
            if maker.workshop.store.load(key) is None:
                tasks.append((maker, panel, method, ids, original, teacher, predicted, key))
                sizes.append(len(ids))
    if tasks:
        _ = maker.template
        maker.workshop.spread(_unlearn_block, tasks, "Forgetting and reading", sizes)
    return {name: Observed([maker.kept(key) for key in found]) for name, found in keys.items()}


def _observe_block(
    maker: Maker, panel: Panel, role: str, ids: tuple[int, ...], made: str, key: str
) -> str:
    outputs = panel.outputs(maker.problem, _block(maker, made, ids))
    maker.workshop.store.save(key, outputs, {"role": role, "members": len(ids)})
    return key


def _unlearn_block(
    maker: Maker,
    panel: Panel,
    method: Method,
    ids: tuple[int, ...],
    original: str,
    teacher: str,
    change: ChangeTable | None,
    key: str,
) -> str:
    start = perf_counter()
    models = _block(maker, original, ids)
    given = Given(change=change, teachers=_block(maker, teacher, ids) if teacher else None)
    try:
        result = method(maker.problem, models, given, seed=maker.workshop.seed)
        outputs = panel.outputs(maker.problem, result.models)
    except BadInput as error:
        raise BadInput(
            f"{method.name}: {error.given}", expected=error.expected, cure=error.cure
        ) from error
    facts = {
        "method": method.name,
        "members": len(ids),
        "cost": result.cost.__dict__,
        "changed": result.changed,
        "reason": result.reason,
        "seconds": perf_counter() - start,
    }
    maker.workshop.store.save(key, outputs, facts)
    return key


def _block(maker: Maker, key: str, ids: tuple[int, ...]) -> Ensemble:
    return maker.block(key, ids).to(maker.workshop.device)


def _joined(blocks: Sequence[store.Stored]) -> dict[str, Tensor]:
    groups = blocks[0].tensors
    return {group: torch.cat([block.tensors[group] for block in blocks]) for group in groups}


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def _change_digest(change: ChangeTable) -> str:
    return store.digest({name: part.mean.float() for name, part in change.splits.items()})
