"""What a benchmark runs: its nouns. They come from a file by `parsing`."""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from expunge.methods import Method, masked, method
from expunge.rng import Draws

RULES = ("oracle-free", "oracle")
SECOND = 10  # members from which there is a second group of retrained models: U-LiRA needs it


@dataclass(frozen=True)
class ForgetSet:
    """One way to choose the forgotten rows: a kind of `expunge.forget_sets` with its settings."""

    name: str
    kind: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A method under a label, with what is fixed and what is tuned.

    Attributes:
        label: as it goes by in tables.
        name: of the method.
        mask: e.g. "saliency:0.5", or "".
        fixed: settings that stay.
        grid: settings that are tuned, each with the values to try.
    """

    label: str
    name: str
    mask: str
    fixed: dict[str, Any]
    grid: dict[str, list[Any]]

    def trials(self, count: int) -> list[Method]:
        """The methods to try: all of the grid, or `count` points of it drawn at random."""
        points = [dict(zip(self.grid, values, strict=True)) for values in product(*self._values)]
        if len(points) > count:
            chosen = Draws((0, "trials", self.label)).permutation(len(points))[:count].tolist()
            points = [points[k] for k in sorted(chosen)]
        return [masked(method(self.name, **self.fixed, **point), self.mask) for point in points]

    @property
    def size(self) -> int:
        """Points of the grid; 1 where nothing is tuned."""
        size = 1
        for values in self._values:
            size *= len(values)
        return size

    @property
    def _values(self) -> list[list[Any]]:
        return list(self.grid.values())


@dataclass(frozen=True)
class Tuning:
    """How settings are chosen; fixed before anything is scored.

    Attributes:
        trials: settings tried of each method that has any to tune.
        seed: of the models on which they are tried; one of the judged seeds is allowed, and the
            choice is then made by a second group of oracles.
        budget: largest cost of a trial, as a share of one retraining.
        rules: of RULES.
    """

    trials: int
    seed: int
    budget: float = 1.0
    rules: tuple[str, ...] = RULES


@dataclass(frozen=True)
class Stopping:
    """The stopping-time figure: runs of methods with the settings that the last rule chose.

    Attributes:
        methods: their labels, in the order of the panels.
        forget: name of the forget set; "" is the first.
    """

    methods: tuple[str, ...]
    forget: str = ""


@dataclass(frozen=True)
class Config:
    """A benchmark; see docs/bench.md for the file."""

    name: str
    problem: str
    forget: tuple[ForgetSet, ...]
    candidates: tuple[Candidate, ...]
    seeds: tuple[int, ...] = (0,)
    members: int = 1
    judged_rows: int = 5000
    relearning: int = 0
    half_models: int = 1000
    metrics: tuple[str, ...] = ("UA", "RA", "TA", "MIA")
    options: dict[str, Any] = field(default_factory=dict)
    tuning: Tuning | None = None
    figures: tuple[str, ...] = ()
    stopping: Stopping | None = None

    @property
    def rules(self) -> tuple[str, ...]:
        """By which settings are chosen: of the tuning, or "fixed"."""
        return self.tuning.rules if self.tuning else ("fixed",)
