"""Leave-set-out linearised retraining: what a model would say without some rows, from it alone.

Source: our own; its parts are known. Linearise the outputs at the trained weights, z + J d, and
take for d what retraining on R would change (`curvature/leave_out.py`), damped by how long the
recipe trains (`damping.py`). Compared with influence functions (Koh and Liang 2017, arXiv
1703.04730; Bae et al. 2022, arXiv 2209.05364) the curvature is that of the retained rows alone,
sampled, and the damping is not chosen but follows from the recipe. No second model is trained, and
every model of an ensemble gets its own prediction.

The standard error is how far linearising goes wrong: the distance between z + J d and the outputs
of the model with its weights moved by d.

Cost: 6 units for each sampled row and 6 more an iteration, 4 for each forgotten row; and 4 for
each row that is asked about. 3 for each row on which the damping of an optimizer like Adam is
measured.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from expunge.attribution.damping import damping_of, measured, sample_of
from expunge.curvature.leave_out import LeaveOut, moved, tangent
from expunge.curvature.point import Point, Weights
from expunge.data import Data
from expunge.ensemble import Change, Ensemble
from expunge.errors import BadInput
from expunge.loop import Cost
from expunge.problem import Problem
from expunge.rng import Draws

CURVATURES = ("retained", "all")


@dataclass(frozen=True)
class Linearised:
    """Predicts, for each of some trained models, its own change.

    Args:
        problem: data, recipe and the rows that are present; the rows it forgets play no part.
        models: trained on the present rows.
        seed: of the sample and the random outputs.
        damping: in units of the loss's curvature; None: from the recipe.
        samples: retained rows on which curvature is measured, at most half of them.
        iterations: of conjugate gradients; 0 is EK-FAC alone. More fit the sampled rows' curvature
            better than that of the others, and predict worse (docs/attribution.md).
        rounds: of Newton; 2 linearises once more where the first led.
        curvature: "retained" rows', or that of "all" rows as influence functions have it.
    """

    problem: Problem
    models: Ensemble
    seed: int = 0
    damping: float | None = None
    samples: int = 2000
    iterations: int = 2
    rounds: int = 1
    curvature: str = "retained"
    _last: dict[bytes, list[Weights]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        wrong = (
            (self.damping is not None and not self.damping > 0)
            or self.samples < 1
            or self.iterations < 0
            or self.rounds < 1
            or self.curvature not in CURVATURES
        )
        if wrong:
            raise BadInput(
                f"linearised with damping={self.damping}, samples={self.samples}, "
                f"iterations={self.iterations}, rounds={self.rounds}, curvature={self.curvature}",
                expected="damping above 0, samples and rounds of at least 1, iterations of at "
                f"least 0, curvature one of {', '.join(CURVATURES)}",
                cure="correct the setting",
            )

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """The predicted change of each model's outputs had `forget` not been trained on.

        Args:
            forget: row numbers, each present.
            rows: row numbers within the split.
            split: "train", "validation" or "test".

        Returns:
            Mean and standard error, (members, rows, C) on the CPU.

        Raises:
            BadInput: rows that were not trained on, or nothing left of them.
        """
        return self.changes(forget, {split: rows})[split]

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """`without` for several splits at once: the change of the weights is found once."""
        with served(self.models.template):
            return self._changes(self.problem.forgetting(forget), asked)

    def _changes(self, problem: Problem, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        found: dict[str, list[Change]] = {split: [] for split in asked}
        for module, step in zip(self.models.modules(), self.steps(problem.forget), strict=True):
            point = Point(problem.task, problem.train, module)
            there = moved(point, step)
            for split, rows in asked.items():
                found[split].append(_change(point, there, problem.splits[split], rows, step))
        return {
            split: Change(*(torch.stack(parts) for parts in zip(*own, strict=True)))
            for split, own in found.items()
        }

    def steps(self, forget: Tensor) -> list[Weights]:
        """The change of each model's weights; of the last forget set it is remembered."""
        problem = self.problem.forgetting(forget)
        key = problem.forget.numpy().tobytes()
        if key not in self._last:
            found = [
                self._step(problem, Point(problem.task, problem.train, module), member)
                for module, member in zip(self.models.modules(), self.models.ids, strict=True)
            ]
            self.remember(forget, found)
        return self._last[key]

    def remember(self, forget: Tensor, steps: list[Weights]) -> None:
        """Take the changes of the weights as found before, by `steps` of the same models."""
        self._last.clear()
        self._last[self.problem.forgetting(forget).forget.numpy().tobytes()] = steps

    def price(self, rows: int) -> Cost:
        """What a prediction for so many rows reads of one model, for the problem's forget set."""
        forget = len(self.problem.forget)
        solved = self._leave_out(1.0).price(forget, self._sampled(self.problem))
        sized = measured(self.problem) if self.damping is None else 0
        return solved + Cost(sized, sized) + Cost(4 * rows)

    def _step(self, problem: Problem, point: Point, member: int) -> Weights:
        draws = Draws((self.seed, "attribution", "linearised", member))
        retained = problem.retain
        pool = retained if self.curvature == "retained" else problem.present_rows
        sample = sample_of(pool, self._sampled(problem), draws)
        damping = damping_of(problem, point, draws) if self.damping is None else self.damping
        return self._leave_out(damping).step(point, problem.forget, len(retained), sample, draws)

    def _leave_out(self, damping: float) -> LeaveOut:
        return LeaveOut(damping, self.iterations, self.rounds)

    def _sampled(self, problem: Problem) -> int:
        return min(self.samples, -(-len(problem.retain) // 2))


@contextmanager
def served(module: nn.Module) -> Iterator[None]:
    """Turn torch's refusal of a forward derivative into words."""
    try:
        yield
    except NotImplementedError as error:
        kinds = sorted(
            {type(part).__name__ for part in module.modules() if not any(part.children())}
        )
        raise BadInput(
            f"a model of {', '.join(kinds)}, which this attribution cannot linearise "
            f"({str(error).splitlines()[0]})",
            expected="layers with a forward derivative; LSTMs and fused attention have none",
            cure="use --attribution trak, or one made from half-data models, such as datamodels",
        ) from error


def _change(point: Point, there: Point, data: Data, rows: Tensor, step: Weights) -> Change:
    """The tangent of some rows' outputs, and its distance from where the outputs really go."""
    here = Point(point.task, data, point.module)
    z, change = tangent(here, rows, step)
    with torch.no_grad():
        outputs = [
            there.task.outputs(there.module, batch)
            for batch in Point(there.task, data, there.module).batches(rows)
        ]
    return Change(change.cpu(), (torch.cat(outputs) - z - change).abs().cpu())
