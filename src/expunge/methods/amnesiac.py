"""Take back every step of training whose batch held a forgotten row, as it was recorded.

Source: Graves, Nagisetty and Ganesh 2021, "Amnesiac Machine Learning", arXiv 2010.10981: theta
minus the sum of the recorded updates of those steps; Thudi et al. 2022, arXiv 2109.13398, compare
it with the gradient at the beginning of training (`single-gradient`). Exact where the step is the
last one, or where gradients do not depend on the weights and the forgotten rows are whole batches.
Whatever else lay in those batches is taken back too: rows that are spread over many batches leave
little of the model, which published code then trains on (compose with fine-tune). Differs: nothing.
Buffers stay. `expunge train --record` writes the updates down; without a recording they are found
by training again, which is for comparing methods. Cost: none in rows; the recording costs memory
and no rows.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from expunge.curvature.point import Point, Weights
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.methods.edit import edit
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result, unchanged
from expunge.problem import Problem
from expunge.registry import check, setting
from expunge.rng import Draws


@dataclass(frozen=True)
class Amnesiac:
    """Subtract the recorded updates of the steps that read a forgotten row."""

    name: ClassVar[str] = "amnesiac"
    source: ClassVar[str] = "Graves et al. 2021, arXiv 2010.10981"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset({"history", "recording"})
    exempt: ClassVar[dict[str, str]] = {
        "seed": "draws nothing",
        "buffers": "an edit of weights; statistics of batch norm stay",
        "forgotten rows are read": "reads what was recorded, and no row",
        "one forward a row read": "what is recorded in production is found by training again here",
        "direction": "undoes steps of a training, which the models of that law do not have",
    }

    alpha: float = setting(
        1.0, "share of the updates that is taken back; published: 1", typical="0.1 to 1", least=0
    )

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        draws = Draws((seed, "unlearn", self.name))
        history = inputs.history
        assert history is not None
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        gone = history.rows[~torch.isin(history.rows, problem.present_rows)]
        updates = history.of(models.ids).updates(problem.forget, gone)
        place = {member: k for k, member in enumerate(models.ids)}

        def undone(point: Point, draws: Draws) -> Weights:
            assert draws.members is not None
            own = {name: update[place[draws.members[0]]] for name, update in updates.items()}
            # in float64, so that the last step is taken back to the last digits
            return {
                n: w.double().sub(own[n].to(w.device), alpha=self.alpha).to(w.dtype)
                for n, w in point.weights.items()
            }

        return edit(
            problem,
            models,
            inputs,
            undone,
            draws=draws,
            cost=self.price(problem),
            reason="no step of the training held a forgotten row",
        )

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return Cost()
