"""The axis of a cost in retrainings: decades, and a strip at the left for what is free."""

from dataclasses import dataclass
from math import floor, log10

from matplotlib.axes import Axes

from expunge.report.figure.canvas import FAINT, MUTED, RULE
from expunge.report.figure.panels import ticks

FREE = 1e-4  # retrainings: what costs less stands at the left edge, over the tick "≈ 0"
MOST = 5  # decades that are all named; of more, every other one


@dataclass(frozen=True)
class CostAxis:
    """Decimal exponents of the ends of the axis, and whether something is free."""

    low: float
    high: float
    free: bool

    @classmethod
    def of(cls, costs: list[float]) -> "CostAxis":
        """The axis that has room for these costs and for one retraining."""
        paid = [log10(cost) for cost in costs if cost >= FREE]
        return cls(
            low=min([-1.0, *(floor(x) for x in paid)]),
            high=max([0.0, *paid]) + 0.15,
            free=len(paid) < len(costs),
        )

    def place(self, cost: float) -> float:
        """Where a cost stands, in data units of the axis."""
        return cost if cost >= FREE else self._before(0.22)

    def draw(self, axes: Axes) -> None:
        """Give the axes this horizontal axis, with one retraining marked."""
        first = log10(left := self._before(0.33 if self.free else 0.03))
        axes.set_xscale("log")
        axes.set_xlim(left, 10**self.high)
        decades = range(int(self.low), int(self.high) + 1)
        every = 1 if len(decades) <= MOST else 2
        names = {10.0**x: f"{10.0**x:g}" for x in decades if x % every == 0}
        if self.free:
            strip = {"color": RULE, "alpha": 0.45, "linewidth": 0, "zorder": 0}
            axes.axvspan(left, self._before(0.07), **strip)
            names[self.place(0)] = "≈ 0"
        ticks(axes.xaxis, sorted(names), lambda x: names.get(x, ""))
        axes.axvline(1, color=FAINT, linewidth=0.8, zorder=1)
        # near its line, but clear of the panel's title at the left and of names at the right
        end = -first / (self.high - first) + 0.15
        axes.annotate(
            "one retraining",
            (min(max(end, 0.85), 1.0), 1),
            (2, 3),
            "axes fraction",
            "offset points",
            ha="right",
            fontsize=7.5,
            color=MUTED,
        )

    def _before(self, share: float) -> float:
        """A place left of the decades, by a share of their width: labels never touch."""
        return 10 ** (self.low - share * (self.high - self.low))
