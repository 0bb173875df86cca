"""Cost: what was spent on one model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What was spent on one model. One row forward is one unit, one row backward two."""

    forward_rows: int = 0
    backward_rows: int = 0
    seconds: float = 0.0

    @property
    def row_units(self) -> int:
        """Forward rows plus twice the backward rows."""
        return self.forward_rows + 2 * self.backward_rows

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.forward_rows + other.forward_rows,
            self.backward_rows + other.backward_rows,
            self.seconds + other.seconds,
        )
