"""Methods that follow a predicted change: which attribution predicts it."""

from dataclasses import dataclass
from typing import ClassVar

from expunge.registry import setting


@dataclass(frozen=True)
class Predicted:
    """A method that is given a predicted change of the outputs; a subclass says what it does."""

    needs: ClassVar[frozenset[str]] = frozenset({"change"})

    attribution: str = setting(
        "linearised",
        "what predicts the change: linearised, combined, datamodels, ... (`expunge attribute`)",
    )
