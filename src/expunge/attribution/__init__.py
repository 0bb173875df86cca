"""Attribution: how outputs would change had some rows not been trained on."""

from expunge.attribution.attribution import Attribution
from expunge.attribution.datamodels import Datamodels
from expunge.attribution.difference import Difference
from expunge.attribution.half_data_models import HalfDataModels
from expunge.attribution.lasso import Lasso
from expunge.attribution.linearised import Linearised
from expunge.attribution.registry import ATTRIBUTIONS
from expunge.attribution.ridge import Ridge
from expunge.attribution.trak import Trak

__all__ = [
    "ATTRIBUTIONS",
    "Attribution",
    "Datamodels",
    "Difference",
    "HalfDataModels",
    "Lasso",
    "Linearised",
    "Ridge",
    "Trak",
]
