"""evaluate(): how well an attribution predicts what retraining does, on sets left out at random."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.api.left_out import LeftOut, random_sets
from expunge.api.provenance import run_facts
from expunge.attribution.damping import recipe_of
from expunge.attribution.fit import Fit, fit
from expunge.attribution.registry import attributor, damped, from_halves
from expunge.audit.metrics.calibration import calibration
from expunge.audit.metrics.ceiling import ceiling
from expunge.audit.metrics.lds import lds
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem
from expunge.report.figure.calibration import calibration as draw_calibration
from expunge.report.figure.predicted import choose, predicted
from expunge.training.from_recipe import require_training

FEWEST_SETS = 10
PANELS = 6  # rows of the last set whose distributions are drawn


def evaluate(
    problem: Problem,
    kinds: tuple[str, ...],
    *,
    out: Path | str,
    runtime: Runtime,
    num_sets: int = 20,
    set_fraction: float = 0.1,
    set_size: int | None = None,
    models_per_set: int = 5,
    half_models: int = 1000,
    rows: int = 200,
    command: str = "",
) -> dict[str, Any]:
    """Leave random sets of rows out, retrain, and compare with what is predicted.

    Trains `models_per_set` models without each set, and as many on all rows; the
    store keeps them.

    Args:
        problem: with a recipe; rows that it forgets play no part.
        kinds: attributions by name, see `expunge explain attribution`.
        out: folder of evaluation.json and, for each kind, two figures.
        runtime: store, seed, processes, device.
        num_sets: sets left out, at least 10.
        set_fraction: of the present rows in each set.
        set_size: rows in each set; replaces `set_fraction`.
        models_per_set: retrained without each set, and originals that predictions are
            made of; at least 3, so that the truth has a spread.
        half_models: for kinds that are made from them.
        rows: test (or validation) rows that are predicted.
        command: what repeats this run.

    Returns:
        The content of evaluation.json. By kind: "lds", the linear datamodelling score of margins on
        test rows; "test" and "forgotten", the calibration of the change of margins there. "ceiling"
        is the score that noise of the truth leaves to a perfect prediction.

    Raises:
        BadInput: an unknown kind; too few sets or models; a share outside (0, 1), or a count
            of no rows or all.
    """
    start = perf_counter()
    _require(num_sets, set_fraction, models_per_set)
    size = _size(problem, set_size, set_fraction)
    require_training(problem, "retrain without sets of rows")
    for kind in kinds:
        if damped(kind):
            recipe_of(problem)
    halves = [kind for kind in kinds if from_halves(kind)]
    out = Path(out)
    store.require_writable(out)
    chosen = random_sets(problem.forgetting([]), runtime.seed, num_sets, size)
    truth = LeftOut(problem, chosen, runtime, models_per_set, rows)
    fitted = fit(truth.base, half_models) if halves else None
    found = {kind: _judge(truth, kind, fitted, out) for kind in kinds}
    content = {
        "problem": problem.name,
        "sets": num_sets,
        "rows_left_out": size,
        "models": models_per_set,
        "half_models": half_models if halves else 0,
        "rows": truth.rows.tolist(),
        "ceiling": asdict(ceiling(truth.truth)),
        "attributions": found,
        "run": run_facts(command, runtime.seed, perf_counter() - start),
    }
    store.write_json(out / "evaluation.json", content)
    return content


def _judge(truth: LeftOut, kind: str, fitted: Fit | None, out: Path) -> dict[str, Any]:
    """Scores of one kind, and its figures."""
    halves, seed = fitted and fitted.halves, truth.base.runtime.seed
    made = attributor(kind, truth.problem, truth.originals, halves, seed)
    predictions = [truth.predict(made, truth.originals, own) for own in truth.forgotten]
    predicted_mean = torch.stack([p["test"].mean(0) for p in predictions])
    score = lds(predicted_mean, truth.truth.mean(1))
    both = list(zip(predictions, truth.after, strict=True))
    pairs = {
        "forgotten": [(p["forgotten"], a["before"], a["forgotten"]) for p, a in both],
        "test": [(p["test"], truth.before, a["test"]) for p, a in both],
    }
    scores, changes, drawn = {}, {}, {}
    for group, parts in pairs.items():
        shifted, null, oracle = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
        change = (shifted - null).mean(0)
        drawn[group] = calibration(change, null, oracle)
        scores[group] = asdict(drawn[group])
        changes[group] = (change, oracle.mean(0) - null.mean(0))
    name = kind.replace(":", "-").replace("=", "-").replace(",", "-")
    title = f"{kind}: predicted and true change of margins"
    store.write_bytes(
        out / f"{name}-calibration.svg", draw_calibration(changes, drawn, title).encode()
    )
    _draw_rows(truth.forgotten[-1], pairs["forgotten"][-1], out / f"{name}-rows.svg")
    return {"lds": asdict(score), **scores}


def _draw_rows(forget: Tensor, triple: tuple[Tensor, Tensor, Tensor], path: Path) -> None:
    shifted, null, oracle = triple
    rows = choose(null, oracle, PANELS)
    names = [f"row {forget[row].item()}" for row in rows]
    store.write_bytes(path, predicted(null, shifted, oracle, rows, names).encode())


def _size(problem: Problem, count: int | None, share: float) -> int:
    """Rows in each set."""
    present = len(problem.forgetting([]).present_rows)
    if count is None:
        return max(1, round(share * present))
    if not 0 < count < present:
        raise BadInput(
            f"sets of {count:,} rows",
            expected=f"from 1 to {present - 1:,}: there are {present:,} rows",
            fix="change --set-size, or leave it out and give --set-fraction",
        )
    return count


def _require(sets: int, share: float, models: int) -> None:
    wrong: Mapping[str, bool] = {
        f"{sets} sets": sets < FEWEST_SETS,
        f"a share of {share:g}": not 0 < share < 1,
        f"{models} models a set": models < 3,
    }
    said = [what for what, bad in wrong.items() if bad]
    if said:
        raise BadInput(
            f"an evaluation with {', '.join(said)}",
            expected=f"at least {FEWEST_SETS} sets, a share between 0 and 1, at least 3 models",
            fix="the defaults are 20 sets, a share of 0.1 and 5 models",
        )
