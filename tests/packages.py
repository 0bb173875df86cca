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

from expunge.engine.batches import epochs
from expunge.methods import Claim, MethodInputs
from expunge.registry import check, setting
from expunge.methods.finetune import descent_cost, finetune, passes, penalty_of
from expunge.rng import Draws


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


def package(
    folder: Path, offers: dict[str, str], code: str = METHOD, name: str = "strange"
) -> Path:
    """Write a package of one module, `code`, that offers methods by entry points; its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{method} = {place}\n" for method, place in offers.items()]
    (facts / "entry_points.txt").write_text("[expunge.methods]\n" + "".join(lines))
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
