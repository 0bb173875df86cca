"""Datamodel Matching: fine-tune each model to its own outputs plus the predicted change.

Source: Georgiev et al. 2024, arXiv 2410.23232, section 5 (DMM): data attribution predicts what a
retrained model would say, and the model is matched to that. Differs: see `matching.py`.
Cost: see `matching.py`. The attribution is counted apart: one from half-data models serves every
later request, one from the model itself this request alone (docs/attribution.md).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from expunge.engine.ensemble import Ensemble
from expunge.methods.matching import Matching
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.methods.predicted import Predicted
from expunge.problem import Problem


@dataclass(frozen=True)
class DMM(Predicted, Matching):
    """Match the model's own outputs plus the change that attribution predicts."""

    name: ClassVar[str] = "dmm"
    source: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    claim: ClassVar[Claim] = Claim.APPROXIMATE

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        change = inputs.change
        assert change is not None, "checked by the api: needs"

        def targets(rows: Tensor) -> Tensor:
            own = models.outputs(problem.task, problem.served(), rows)
            return own + change("train", rows).mean.to(own.dtype)

        return self.matched(problem, models, inputs, targets, seed=seed)
