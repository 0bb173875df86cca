"""What `run.py` asks of every attributor, ours or another library's."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expunge.api.left_out import LeftOut
from expunge.attribution.damping import damping_of, travel
from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.registry import attributor
from expunge.curvature.point import Point
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.problem import Problem
from expunge.rng import Draws

Pair = tuple[Tensor, Tensor]  # inputs (rows, ...) and class numbers (rows,)


@dataclass(frozen=True)
class Ask:
    """One trained model, and the sets that it might not have been trained on.

    Args:
        truth: the problem, the judged rows, and how outputs are read as margins.
        module: the model, one of the originals.
        member: its number.
        sets: row numbers of each.
        halves: half-data models, for those of ours that need them.
        seed: of whatever is drawn.
    """

    truth: LeftOut
    module: nn.Module
    member: int
    sets: list[Tensor]
    halves: HalfDataModels | None = None
    seed: int = 0

    @property
    def problem(self) -> Problem:
        """With all rows present."""
        return self.truth.problem

    @property
    def train(self) -> Pair:
        """All train rows."""
        return _pair(self.problem.train)

    @property
    def judged(self) -> Pair:
        """The rows whose margins are predicted."""
        inputs, targets = _pair(self.problem.judge)
        return inputs[self.truth.rows], targets[self.truth.rows]

    @property
    def asked(self) -> Tensor:
        """The rows in any of the sets, sorted."""
        return torch.cat(self.sets).unique()

    @property
    def damping(self) -> float:
        """That which the recipe implies, as ours has it, in units of the mean loss's curvature."""
        point = Point(self.problem.task, self.problem.train, self.module)
        draws = Draws((self.seed, "attribution", "linearised", self.member))
        return damping_of(self.problem, point, draws, travel(self.problem))

    def summed(self, scores: Tensor) -> Tensor:
        """From each asked row's effect on each judged row, (asked, judged), that of each set."""
        inside = torch.stack([torch.isin(self.asked, own) for own in self.sets])
        return inside.to(scores) @ scores


def ours(kind: str, ask: Ask) -> Tensor:
    """The predicted change of the judged rows' margins without each set, (sets, judged)."""
    one = Ensemble.of(ask.module, ask.member)
    made = attributor(kind, ask.problem, one, ask.halves, ask.seed)
    before = ask.truth.margins(ask.truth.read(one))[0]
    rows = {ask.truth.split: ask.truth.rows}
    outputs = ask.truth.read(one)
    found = [made.changes(own, rows)[ask.truth.split].mean.float() for own in ask.sets]
    return torch.stack([ask.truth.margins(outputs + change)[0] - before for change in found])


def _pair(data: object) -> Pair:
    assert isinstance(data, TensorData)
    return data.inputs, data.targets
