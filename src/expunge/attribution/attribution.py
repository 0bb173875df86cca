"""What an attributor is: fitted once, asked about any forget set."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from expunge.engine.shifted import Change


class Attribution(Protocol):
    """Predicts how outputs would change had the models been trained without some rows."""

    def without(self, forget: Tensor, rows: Tensor, split: str = "train") -> Change:
        """The change of the outputs of `rows` of a split: mean and standard error.

        Args:
            forget: row numbers, each among the rows that it was fitted on.
            rows: row numbers within the split.
            split: "train", "validation" or "test".

        Returns:
            (rows, C), the same for every model, or (members, rows, C), a prediction for each of
            the models that it was fitted on.

        Raises:
            BadInput: rows that it was not fitted on.
        """
        ...

    def changes(self, forget: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Change]:
        """`without` for rows of several splits at once."""
        ...
