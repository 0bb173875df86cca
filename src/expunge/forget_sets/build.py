"""build(): a forget set by name and settings, as a configuration file has them.

`expunge explain 'forget set'` describes the names and their settings.

Rows are alike by their inputs: numbers as they are, texts (mappings of token ids) by the words they
share; see `words.py`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from expunge.data import TensorData, walk
from expunge.errors import BadInput
from expunge.forget_sets.chance import random_rows, random_share
from expunge.forget_sets.likeness import nearest, principal_end, whole_class
from expunge.forget_sets.listed import listed
from expunge.forget_sets.memorised import attribution_matrix, most_memorised, self_influence
from expunge.forget_sets.words import has_words, word_features
from expunge.problem import Problem
from expunge.registry import REQUIRED, Registry, check, class_faults, setting
from expunge.rng import Draws

HalfDataModels = tuple[Tensor, Tensor]


def build(
    kind: str,
    problem: Problem,
    *,
    seed: int,
    features: Tensor | None = None,
    margins_of_halves: HalfDataModels | None = None,
    **settings: Any,
) -> Tensor:
    """A forget set of the rows that are present.

    Args:
        kind: of FORGET_SETS.
        problem: its train data; what it forgets already plays no part.
        seed: of the draws of "random"; the other kinds are fixed by the data.
        features: (n, ...) numbers of all train rows by which they are alike, default the inputs,
            of texts their words.
        margins_of_halves: for "memorised" and for principal components of attribution: bool
            (models, n), the rows that each half-data model was trained on, and their margins on
            the train rows, (models, n).
        settings: see `expunge explain KIND`.

    Returns:
        Row numbers, int64, sorted; `problem.forgetting` takes them.

    Raises:
        BadInput: see `Registry.read`; features or margins that are needed and were not given.
    """
    draws = Draws((seed, "forget set", kind))
    return FORGET_SETS.make(kind, settings)(Source(problem, draws, features, margins_of_halves))


@dataclass(frozen=True)
class Source:
    """What a forget set can be made from, read when it is asked for."""

    problem: Problem
    draws: Draws
    given: Tensor | None
    halves: HalfDataModels | None

    def candidates(self, label: int | None = None) -> Tensor:
        """The present rows, or those of one class."""
        rows = self.problem.present_rows
        return rows if label is None else whole_class(self._targets(rows), label, rows)

    def features(self) -> Tensor:
        """(n, ...) numbers of all train rows."""
        data, n = self.problem.train, len(self.problem.train)
        if self.given is not None:
            if len(self.given) != n:
                raise BadInput(
                    f"features of {len(self.given)} rows",
                    expected=f"those of all {n} train rows",
                    fix="compute features of the whole train data, in its order",
                )
            return self.given
        if isinstance(data, TensorData) and isinstance(data.inputs, Tensor):
            return data.inputs
        present = self.problem.present_rows
        if not has_words(data, present):
            raise BadInput(
                f"no features, and inputs of {type(data).__name__} that are no single tensor",
                expected="numbers by which rows are alike, or token ids as inputs['input_ids']",
                fix="pass features=, e.g. a model's hidden layer, (rows, d)",
            )
        return word_features(data, present)

    def margins(self, purpose: str) -> HalfDataModels:
        """Memberships and margins of half-data models."""
        n = len(self.problem.train)
        if self.halves is None:
            raise BadInput(
                f"no margins of half-data models, which are needed for {purpose}",
                expected="memberships and margins, (models, rows) each",
                fix="train half-data models and pass margins_of_halves=(memberships, margins)",
            )
        shapes = [tuple(array.shape) for array in self.halves]
        if any(shape[1:] != (n,) for shape in shapes):
            raise BadInput(
                f"memberships of shape {shapes[0]} and margins of {shapes[1]}",
                expected=f"(models, {n}) each: all train rows",
                fix="pass both for the whole train data, in its order",
            )
        return self.halves

    def _targets(self, rows: Tensor) -> Tensor:
        if self.problem.task.kind != "classification":
            raise BadInput(
                f"a label for a task of {self.problem.task.kind}",
                expected="a classification problem",
                fix="choose rows without label=",
            )
        targets = torch.full((len(self.problem.train),), -1)
        for batch in self.problem.train.batches(walk(rows)):
            targets[batch.rows] = batch.targets
        return targets


class ForgetSet(Protocol):
    """One way to choose the rows to forget; a frozen dataclass of settings.

    One that reads `Source.margins` says so: `needs_margins = True`.
    """

    name: ClassVar[str]

    def __call__(self, source: Source) -> Tensor:
        """Row numbers among those that are present, int64, sorted."""
        ...


@dataclass(frozen=True)
class _Checked:
    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Random(_Checked):
    """Rows drawn at random: so many, or a share of the candidates."""

    name: ClassVar[str] = "random"

    count: int | None = setting(None, "how many", unit="rows")
    share: float | None = setting(None, "share of the candidates")
    label: int | None = setting(None, "only rows of this class")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.count is None) == (self.share is None):
            raise BadInput(
                f"count={self.count} and share={self.share}",
                expected="one of the two",
                fix="give count= a number of rows, or share= e.g. 0.1",
            )

    def __call__(self, source: Source) -> Tensor:
        """See `ForgetSet`."""
        candidates = source.candidates(self.label)
        if self.share is not None:
            return random_share(candidates, self.share, source.draws)
        assert self.count is not None
        return random_rows(candidates, self.count, source.draws)


@dataclass(frozen=True)
class WholeClass(_Checked):
    """All rows of a class."""

    name: ClassVar[str] = "class"

    label: int = setting(REQUIRED, "the class")

    def __call__(self, source: Source) -> Tensor:
        """See `ForgetSet`."""
        return source.candidates(self.label)


@dataclass(frozen=True)
class Principal(_Checked):
    """Rows at an end of a principal component."""

    name: ClassVar[str] = "principal"

    count: int = setting(REQUIRED, "how many", unit="rows")
    component: int = setting(0, "which component; 0 is the first")
    end: str = setting("top", "which end", choices=("top", "bottom", "both"))
    of: str = setting("inputs", "components of what", choices=("inputs", "attribution"))
    label: int | None = setting(None, "only rows of this class")

    @property
    def needs_margins(self) -> bool:
        """Only components of attribution do."""
        return self.of == "attribution"

    def __call__(self, source: Source) -> Tensor:
        """See `ForgetSet`."""
        if self.needs_margins:
            features = attribution_matrix(*source.margins("principal components of attribution"))
        else:
            features = source.features()
        candidates = source.candidates(self.label)
        return principal_end(
            features, candidates, self.count, component=self.component, end=self.end
        )


@dataclass(frozen=True)
class Nearest(_Checked):
    """The rows nearest to one row."""

    name: ClassVar[str] = "nearest"

    row: int = setting(REQUIRED, "number of that row")
    count: int = setting(REQUIRED, "how many", unit="rows")
    label: int | None = setting(None, "only rows of this class")

    def __call__(self, source: Source) -> Tensor:
        """See `ForgetSet`."""
        return nearest(source.features(), self.row, self.count, source.candidates(self.label))


@dataclass(frozen=True)
class Memorised(_Checked):
    """The rows that half-data models memorise most."""

    name: ClassVar[str] = "memorised"
    needs_margins: ClassVar[bool] = True

    count: int = setting(REQUIRED, "how many", unit="rows")
    label: int | None = setting(None, "only rows of this class")

    def __call__(self, source: Source) -> Tensor:
        """See `ForgetSet`."""
        scores = self_influence(*source.margins("the most memorised rows"))
        return most_memorised(scores, self.count, source.candidates(self.label))


@dataclass(frozen=True)
class File(_Checked):
    """The rows that a file lists, see `listed`."""

    name: ClassVar[str] = "file"

    path: str = setting(REQUIRED, "a .npy file")

    def __call__(self, source: Source) -> Tensor:
        """See `ForgetSet`."""
        return listed(source.problem, self.path)


FORGET_SETS: Registry[ForgetSet] = Registry(
    "forget set",
    *(Random, WholeClass, Principal, Nearest, Memorised, File),
    faults=lambda kind: class_faults(kind, {"__call__": "def __call__(self, source)"}),
)
