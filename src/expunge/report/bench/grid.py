"""One table of a benchmark as data: a line a method, and which entry of a column is the best.

After Table 1 of the SalUn paper (Fan et al. 2024, arXiv 2310.12508): one line a method, retraining
first, each entry a mean over models, its spread, and the gap to retraining. Differs: gaps keep
their sign, and what was not measured says why.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from expunge.errors import BadInput

REFERENCE = "retrain"
SMALLEST = ("Avg. Gap", "RTE")  # columns where the smallest value is best, not the smallest gap
TIMES = ("s", "min", "h")  # units whose numbers span decades: three digits, not two decimals


@dataclass(frozen=True)
class Cell:
    """A measured entry.

    Attributes:
        mean: over models, in the column's unit; or one number for all of them together.
        sd: standard deviation over models, in the same unit; None with one model. In the columns
            of `Grid.errors`, the standard error of a number that all models have together.
        n: models.
        gap: signed difference of the mean to that of the reference; None if not measured.
        gap_se: standard error of the gap; None if not known.
    """

    mean: float
    sd: float | None = None
    n: int = 1
    gap: float | None = None
    gap_se: float | None = None


@dataclass(frozen=True)
class Line:
    """One method.

    Attributes:
        method: its name.
        cells: by column; a missing one is as None: not measured.
        note: a remark on the method, for a footnote.
    """

    method: str
    cells: Mapping[str, Cell | None]
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what the table is of, with the forgetting share, the data and the model.
        columns: in order from left to right.
        lines: the methods; first the reference, which all others are measured against.
        units: of columns, where they have one, e.g. "%" or "min".
        missing: why something was not measured, by "method/column".
        smallest: columns in which the smallest value is best.
        errors: columns whose spread is a standard error.
        aside: methods beside the reference that are never the best, e.g. doing nothing.

    Raises:
        BadInput: two lines of one method.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    smallest: tuple[str, ...] = SMALLEST
    errors: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        methods = [line.method for line in self.lines]
        twice = next((method for method in methods if methods.count(method) > 1), None)
        if twice is not None:
            raise BadInput(
                f"a table has two lines of '{twice}'",
                expected="one line a method",
                fix="give one of them another `label`",
            )

    def why(self, method: str, column: str) -> str:
        """Why an entry was not measured, or "" if no reason is known."""
        return self.missing.get(f"{method}/{column}", "")

    def has_gaps(self, column: str) -> bool:
        """Whether methods are compared by their gap in this column."""
        cells = [line.cells.get(column) for line in self.lines]
        return column not in self.smallest and any(c and c.gap is not None for c in cells)

    def rounded(self, column: str, value: float, like: float | None = None) -> str:
        """A number as the table shows it: two decimals, or three significant digits of a time.

        Args:
            column: one of the columns.
            value: the number.
            like: the mean beside it, for a spread of as many decimals.
        """
        timed = column == "RTE" or self.units.get(column) in TIMES
        decimals = _decimals(value if like is None else like) if timed else 2
        text = f"{value:.{decimals}f}"
        return text.removeprefix("-") if float(text) == 0 else text  # no minus zero

    def best(self, column: str) -> frozenset[str]:
        """The methods whose entry is the best of a column; not the reference nor those aside.

        Best is the smallest absolute gap, or in the columns of `smallest` the smallest value.
        Entries that read the same are equally good; what was not measured cannot be best.

        Returns:
            Names; none if nothing was measured, or the column has neither gaps nor an order.
        """
        shown = {}
        for line in self.lines:
            cell = line.cells.get(column)
            value = None if cell is None else cell.mean if column in self.smallest else cell.gap
            if value is not None and line.method not in (REFERENCE, *self.aside):
                amount = value if column in self.smallest else abs(value)
                shown[line.method] = float(self.rounded(column, amount))
        return frozenset(m for m, value in shown.items() if value == min(shown.values()))


def _decimals(value: float) -> int:
    """Decimals for three significant digits, never in powers of ten: 0.0132, 2.64, 43.3, 1234."""
    if value == 0:
        return 0
    return max(2 - math.floor(math.log10(abs(float(f"{value:.3g}")))), 0)
