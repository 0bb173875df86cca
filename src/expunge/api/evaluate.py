"""evaluate(): how well an attribution predicts what retraining does, on sets left out at random."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.api.facts import run_facts
from expunge.attribution.attribution import Attribution
from expunge.attribution.damping import recipe_of
from expunge.attribution.fit import Fit, fit
from expunge.attribution.kinds import attributor, damped, from_halves
from expunge.audit.calibration import calibration
from expunge.audit.lds import lds
from expunge.audit.margin import margins
from expunge.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.maker import Maker, Workshop, make_all
from expunge.problem import Problem
from expunge.report.figure.calibration import calibration as draw_calibration
from expunge.report.figure.predicted import choose, predicted
from expunge.rng import Draws
from expunge.train import require_recipe

FEWEST_SETS = 10
PANELS = 6  # rows of the last set whose distributions are drawn


def evaluate(
    problem: Problem,
    kinds: tuple[str, ...],
    *,
    out: Path | str,
    workshop: Workshop,
    sets: int = 20,
    share: float = 0.1,
    models: int = 5,
    half_models: int = 1000,
    rows: int = 200,
    command: str = "",
) -> dict[str, Any]:
    """Leave random sets of rows out, retrain, and compare with what is predicted.

    Trains `models` models without each set, and as many on all rows, which is kept in the store.

    Args:
        problem: with a recipe; rows that it forgets play no part.
        kinds: attributions by name, see `attribution.kinds`.
        out: folder of evaluation.json and, for each kind, two figures.
        workshop: store, seed, processes, device.
        sets: sets left out, at least 10.
        share: of the present rows in each set.
        models: retrained without each set, and originals that the predictions are made of; at
            least 3, so that the truth has a spread.
        half_models: for kinds that are made from them.
        rows: test (or validation) rows that are predicted.
        command: what repeats this run.

    Returns:
        The content of evaluation.json. By kind: "lds", the linear datamodelling score of margins on
        test rows; "test" and "forgotten", the calibration of the change of margins there.

    Raises:
        BadInput: an unknown kind; too few sets or models; a share outside (0, 1).
    """
    start = perf_counter()
    _require(sets, share, models)
    require_recipe(problem, "retrain without sets of rows")
    for kind in kinds:
        if damped(kind):
            recipe_of(problem)
    halves = [kind for kind in kinds if from_halves(kind)]
    out = Path(out)
    store.require_writable(out)
    base, questions = _questions(problem, workshop, sets, share)
    make_all([(base, {"original": models}), *((maker, {"oracle": models}) for maker in questions)])
    fitted = fit(base, half_models) if halves else None
    truth = _Truth(base, questions, models, rows)
    found = {kind: truth.judge(kind, fitted, out) for kind in kinds}
    content = {
        "problem": problem.name,
        "sets": sets,
        "rows_left_out": len(questions[0].problem.forget),
        "models": models,
        "half_models": half_models if halves else 0,
        "rows": truth.rows.tolist(),
        "attributions": found,
        "run": run_facts(command, workshop.seed, perf_counter() - start),
    }
    store.write_json(out / "evaluation.json", content)
    return content


class _Truth:
    """What models trained on all rows and without each set say, and how predictions compare."""

    def __init__(self, base: Maker, questions: list[Maker], models: int, rows: int) -> None:
        self.base, self.questions = base, questions
        self.problem = base.problem
        every = torch.arange(len(self.problem.judge))
        order = Draws((base.workshop.seed, "evaluate", "rows")).permutation(len(every))
        self.rows = order[:rows].sort().values
        self.split = "validation" if self.problem.test is None else "test"
        self.originals = base.models("original", models).to(base.workshop.device)
        self.before = self._margins(self._read(self.originals, None), None)
        self.after = []
        for maker in questions:
            oracles = maker.models("oracle", models).to(base.workshop.device)
            forgotten = maker.problem.forget
            self.after.append(
                {
                    "test": self._margins(self._read(oracles, None), None),
                    "forgotten": self._margins(self._read(oracles, forgotten), forgotten),
                    "before": self._margins(self._read(self.originals, forgotten), forgotten),
                }
            )

    def judge(self, kind: str, fitted: Fit | None, out: Path) -> dict[str, Any]:
        """Scores of one kind, and its figures."""
        halves, seed = fitted and fitted.halves, self.base.workshop.seed
        made = attributor(kind, self.problem, self.originals, halves, seed)
        predictions = [self._predict(made, maker.problem.forget) for maker in self.questions]
        score = lds(
            torch.stack([p["test"].mean(0) for p in predictions]),
            torch.stack([after["test"].mean(0) for after in self.after]),
        )
        pairs = {
            "forgotten": [
                (p["forgotten"], a["before"], a["forgotten"]) for p, a in self._zip(predictions)
            ],
            "test": [(p["test"], self.before, a["test"]) for p, a in self._zip(predictions)],
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
        self._draw_rows(pairs["forgotten"][-1], out / f"{name}-rows.svg")
        return {"lds": asdict(score), **scores}

    def _zip(self, predictions: list) -> Any:
        return zip(predictions, self.after, strict=True)

    def _draw_rows(self, triple: tuple[Tensor, Tensor, Tensor], path: Path) -> None:
        shifted, null, oracle = triple
        rows = choose(null, oracle, PANELS)
        forget = self.questions[-1].problem.forget
        names = [f"row {forget[row].item()}" for row in rows]
        store.write_bytes(path, predicted(null, shifted, oracle, rows, names).encode())

    def _predict(self, found: Attribution, forget: Tensor) -> dict[str, Tensor]:
        """Margins of each original with its predicted change, (members, rows), by group."""
        changes = found.changes(forget, {"train": forget, self.split: self.rows})
        made = {}
        for group, split, rows in (("forgotten", "train", forget), ("test", self.split, None)):
            outputs = self._read(self.originals, rows) + changes[split].mean.float()
            made[group] = self._margins(outputs, rows)
        return made

    def _read(self, models: Ensemble, forget: Tensor | None) -> Tensor:
        """Outputs of train rows, or of the rows that are judged."""
        if forget is None:
            return models.outputs(self.problem.task, self.problem.judge, self.rows)
        return models.outputs(self.problem.task, self.problem.train, forget)

    def _margins(self, outputs: Tensor, forget: Tensor | None) -> Tensor:
        data = self.problem.judge if forget is None else self.problem.train
        rows = self.rows if forget is None else forget
        targets = torch.cat([batch.targets for batch in data.batches(rows.split(1024))])
        return margins(outputs, targets, self.problem.task.kind)


def _questions(
    problem: Problem, workshop: Workshop, sets: int, share: float
) -> tuple[Maker, list[Maker]]:
    base = problem.forgetting([])
    present = base.present_rows
    count = max(1, round(share * len(present)))
    draws = Draws((workshop.seed, "evaluate", "sets"))
    chosen = [present[draws.at(k).permutation(len(present))[:count]] for k in range(sets)]
    return Maker(base, workshop), [Maker(base.forgetting(rows), workshop) for rows in chosen]


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
            cure="the defaults are 20 sets, a share of 0.1 and 5 models",
        )
