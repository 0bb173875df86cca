"""What an attributor is: fitted once, asked about any forget set."""

from typing import Protocol

from torch import Tensor

from expunge.ensemble import Change


class Attribution(Protocol):
    """Predicts how outputs would change had the models been trained without some rows."""

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """The change of the outputs of `rows` of a split: mean and standard error, (rows, C)."""
        ...
