"""Fine-tune each model to the outputs of an oracle: what matching can do at best.

Source: Georgiev et al. 2024, arXiv 2410.23232, section 4 (OM). Differs: each model has an oracle of
its own where there are enough (the published settings use one oracle too), see also `matching.py`.
The teachers cost as many retrainings as there are, so this is a yardstick and no saving.
Cost: see `matching.py`; teachers are counted apart.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from expunge.engine.ensemble import Ensemble
from expunge.methods.matching import Matching
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.problem import Problem


@dataclass(frozen=True)
class OracleMatching(Matching):
    """Match the outputs of retrained models that the audit does not use."""

    name: ClassVar[str] = "oracle-matching"
    source: ClassVar[str] = "Georgiev et al. 2024, arXiv 2410.23232"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset({"recipe", "teachers"})

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`; model i is taught by teacher i, modulo their number."""
        teachers = inputs.teachers
        assert teachers is not None, "checked by the api: needs"

        def targets(rows: Tensor) -> Tensor:
            outputs = teachers.outputs(problem.task, problem.served(), rows)
            place = {number: k for k, number in enumerate(teachers.ids)}
            return outputs[[place.get(i, i % len(teachers.ids)) for i in models.ids]]

        return self.matched(problem, models, inputs, targets, seed=seed)
