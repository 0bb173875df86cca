"""Small packages of strangers that offer methods, written to disk as an installer leaves them."""

import json
import os
import subprocess
import sys
from pathlib import Path

# In place of `expunge` with these words, one command after the other in one process, as each takes
# seconds to import torch: prints a JSON list of [exit code, stdout, stderr].
COMMANDS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout

sys.path.insert(0, sys.argv[1])
from expunge.cli import main

done = []
for words in json.loads(sys.argv[2]):
    sys.argv, out, err, code = ["expunge", *words], io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""

METHOD = '''
"""Go on training with the retained rows.

Source: ourselves. Differs: nothing. Cost: 3 x epochs x |R| row units.
"""

from dataclasses import dataclass
from typing import ClassVar

from expunge import (
    Claim, Draws, MethodInputs, check, descent_cost, epochs, finetune, passes, penalty_of, setting
)


@dataclass(frozen=True)
class Mine:
    """Descend the training loss on the retained rows."""

    name: ClassVar[str] = "mine"
    source: ClassVar[str] = "Ourselves 2026"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {"forgotten rows are read": "they fade"}
    short: ClassVar[dict] = {"rounds": 2}

    rounds: int = setting(5, "passes over the retained rows", unit="epochs", least=1)
    lr: float = setting(0.01, "learning rate", typical="0.001 to 0.1", least=0)
    batch_size: int = setting(64, "retained rows a step", unit="rows", least=1)

    def __post_init__(self):
        check(self)

    def __call__(self, problem, models, inputs=MethodInputs(), *, seed):
        task = problem.task

        def objective(model, retain):
            return task.loss(task.outputs(model, retain), retain).mean()

        return finetune(
            problem, models, inputs, objective,
            lambda draws: [epochs(problem.retain, self.batch_size, self.rounds, draws)],
            steps=passes(problem.retain, self.batch_size, self.rounds)[0],
            lr=self.lr, l2=penalty_of(problem), draws=Draws((seed, "unlearn", self.name)),
        )

    def price(self, problem):
        return descent_cost(*passes(problem.retain, self.batch_size, self.rounds))
'''


# An attribution, a mask, a forget set, a problem and a task, from public names alone.
OTHERS = '''
"""Strangers of every other kind."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from expunge import (
    MARGINS, PROBLEMS, REQUIRED, Change, Cost, Ensemble, HalfDataModels, Metric, Problem, Regression
)
from expunge import by_model, check, of_oracles, setting


@dataclass(frozen=True)
class Checked:
    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Constant(Checked):
    """The same change of every output."""

    name: ClassVar[str] = "constant"

    problem: Problem
    models: Ensemble
    size: float = setting(0.5, "the change", least=0)

    def without(self, forget, rows, split="train"):
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget, asked):
        shape = len(self.models), 1, self.problem.task.classes
        parts = {split: torch.full((len(rows), 1), self.size) for split, rows in asked.items()}
        means = {split: part[None].expand(shape[0], -1, shape[2]) for split, part in parts.items()}
        return {split: Change(mean, torch.zeros_like(mean)) for split, mean in means.items()}

    def price(self, rows):
        return Cost(rows)


@dataclass(frozen=True)
class Biases(Checked):
    """Only biases move."""

    name: ClassVar[str] = "biases"
    source: ClassVar[str] = "Ourselves 2026"

    also: str = setting("", "parameters that move too")

    def __call__(self, problem, models):
        named = models.template.named_parameters()
        may = {n: torch.full(p.shape, "bias" in n or n == self.also) for n, p in named}
        return may, Cost()

    def price(self, problem):
        return Cost()


@dataclass(frozen=True)
class Every(Checked):
    """Every so manieth row."""

    name: ClassVar[str] = "every"

    step: int = setting(REQUIRED, "rows from one to the next", least=1)

    def __call__(self, source):
        return source.candidates()[:: self.step]


@dataclass(frozen=True)
class Fewer(Checked):
    """The digits, fewer of them."""

    name: ClassVar[str] = "fewer-digits"

    rows: int = setting(100, "train rows", least=10)

    def __call__(self, data=None):
        whole = PROBLEMS.make("digits")(data)
        few = type(whole.train)(whole.train.inputs[: self.rows], whole.train.targets[: self.rows])
        recipe = replace(whole.recipe, epochs=1)
        return Problem(
            whole.task, few, whole.validation, whole.test, recipe=recipe, name="fewer digits"
        )


@dataclass(eq=False)
class Scaled(Regression):
    """Regression in other units."""

    name: ClassVar[str] = "scaled"

    scale: float = setting(1.0, "the unit", above=0)


def spread(file, evidence):
    """How far the margins of a model are apart."""
    margins = evidence.margins(file)
    return by_model(lambda k: float(margins[k : k + 1].std()), file)


SPREAD = Metric(
    *("margin-spread", "nats", "nearer", (MARGINS,), spread, of_oracles(spread)),
    "standard deviation over rows of a model's margins",
)
'''
OFFERS = {
    "expunge.attributions": {"constant": "others:Constant"},
    "expunge.masks": {"biases": "others:Biases"},
    "expunge.forget_sets": {"every": "others:Every"},
    "expunge.problems": {"fewer-digits": "others:Fewer"},
    "expunge.tasks": {"scaled": "others:Scaled"},
    "expunge.metrics": {"margin-spread": "others:SPREAD"},
}


def package(
    folder: Path,
    offers: dict[str, str] | dict[str, dict[str, str]],
    code: str = METHOD,
    name: str = "strange",
) -> Path:
    """Write a package of one module, `code`, that offers entry points; its folder.

    `offers` maps names to places, of methods, or groups to such mappings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = offers if dict in map(type, offers.values()) else {"expunge.methods": offers}
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{entry} = {place}" for entry, place in entries.items())]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    return folder


def commands(folder: Path, *commands: tuple[str, ...], columns: int = 80) -> list[list]:
    """Run commands with a folder on Python's path: [exit code, stdout, stderr] each."""
    words = [sys.executable, "-c", COMMANDS, str(folder), json.dumps(commands)]
    settings = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"}
    done = subprocess.run(
        words, cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
