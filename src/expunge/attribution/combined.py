"""Datamodels around linearised retraining: each says where the other is wrong.

Source: our own; see `datamodels.py` for the correction and `size_correction.py` for the two sizes.

Cost: that of `size_correction.py` for each model, beside the half-data models.
"""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from expunge.attribution.datamodels import Datamodels
from expunge.attribution.linearised import LinearisedSettings
from expunge.attribution.size_correction import SizeCorrection
from expunge.attribution.split_half import PROBED
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble


@dataclass(frozen=True)
class Combined(Datamodels, LinearisedSettings):
    """The linearised prediction, corrected by half-data models.

    Args:
        halves: half-data models.
        problem: data, recipe and the rows that are present.
        models: trained on the present rows; each gets its own prediction.
        seed: of the linearised prediction.
    """

    name: ClassVar[str] = "combined"

    models: Ensemble | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {f.name: getattr(self, f.name) for f in fields(LinearisedSettings)}
        problem: Any = self.problem
        models: Any = self.models
        object.__setattr__(self, "base", SizeCorrection(problem, models, self.seed, **own))

    def price(self, rows: int) -> Cost:
        """What a prediction for so many rows reads of one model, half-data models apart."""
        assert self.problem is not None
        assert isinstance(self.base, SizeCorrection)
        probed = len(self.problem.forget) + min(PROBED, len(self.problem.retain))
        return self.base.price(rows + probed)
