"""Attribution: how outputs would change had some rows not been trained on."""

from expunge.attribution.attribution import Attribution
from expunge.attribution.half_models import HalfModels

__all__ = ["Attribution", "HalfModels"]
