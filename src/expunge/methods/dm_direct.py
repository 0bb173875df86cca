"""Leave the weights and add the predicted change to the outputs (DM-Direct).

Source: Georgiev et al. 2024, arXiv 2410.23232, section 5 (DM-Direct), with multiplier 1. It answers
only for rows that the attribution knows, and whoever holds the weights still holds the forgotten
rows' influence: the claim is "outputs only". Cost: no rows; the attribution is counted apart.
"""

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Shifted
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result, unchanged
from expunge.methods.predicted import Predicted
from expunge.problem import Problem


@dataclass(frozen=True)
class DMDirect(Predicted):
    """Shift the outputs by the change that attribution predicts."""

    name: ClassVar[str] = "dm-direct"
    source: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    claim: ClassVar[Claim] = Claim.OUTPUTS_ONLY
    exempt: ClassVar[dict[str, str]] = {
        "change": "its claim is that only outputs are corrected",
        "seed": "draws nothing",
        "mask": "moves nothing",
        "module": "returns shifted outputs, not weights",
        "forgotten rows are read": "reads no row before it is asked for outputs",
        "buffers": "moves nothing",
    }

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`; the result is a `Shifted`."""
        assert inputs.change is not None, "checked by the api: needs"
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        shifted = Shifted(models, inputs.change, problem.splits)
        return Result(shifted, Cost(), 0.0, "only outputs are corrected; the weights stay")

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return Cost()
