"""build(): a forget set by the name of its kind and its settings, as a configuration file has them.

=========  =====================================================================================
kind       settings; `label=` restricts every kind but the last to the rows of one class
=========  =====================================================================================
random     count=, or share= of the candidates
class      label=
principal  count=, component=0, end="top" ("bottom", "both"), of="inputs" ("attribution")
nearest    row=, count=
memorised  count=
file       path= of a .npy file; see `listed`
=========  =====================================================================================

Rows are alike by their inputs: numbers as they are, texts (mappings of token ids) by the words they
share; see `words.py`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from expunge.data import TensorData, walk
from expunge.errors import BadInput
from expunge.errors import nearest as nearest_name
from expunge.forget_sets.chance import random_rows, random_share
from expunge.forget_sets.likeness import nearest, principal_end, whole_class
from expunge.forget_sets.listed import listed
from expunge.forget_sets.memorised import attribution_matrix, most_memorised, self_influence
from expunge.forget_sets.words import has_words, word_features
from expunge.problem import Problem
from expunge.rng import Draws

WHOLE_NUMBERS = ("count", "label", "component", "row")
OF = ("inputs", "attribution")
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
        kind: one of KINDS.
        problem: its train data; what it forgets already plays no part.
        seed: of the draws of "random"; the other kinds are fixed by the data.
        features: (n, ...) numbers of all train rows by which they are alike, default the inputs,
            of texts their words.
        margins_of_halves: for "memorised" and for principal components of attribution: bool
            (models, n), the rows that each half-data model was trained on, and their margins on
            the train rows, (models, n).
        settings: see the table above.

    Returns:
        Row numbers, int64, sorted; `problem.forgetting` takes them.

    Raises:
        BadInput: an unknown kind or setting, with the nearest known one; a setting that is missing
            or unusable; features or margins that are needed and were not given.
    """
    if kind not in KINDS:
        raise BadInput(
            f"unknown kind of forget set '{kind}'{nearest_name(kind, KINDS)}",
            expected=f"one of {', '.join(KINDS)}",
            fix="correct the kind",
        )
    _require_settings(kind, settings)
    draws = Draws((seed, "forget set", kind))
    return KINDS[kind](_Source(problem, draws, features, margins_of_halves), **settings)


@dataclass(frozen=True)
class _Source:
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


def _random(
    source: _Source,
    *,
    count: int | None = None,
    share: float | None = None,
    label: int | None = None,
) -> Tensor:
    candidates = source.candidates(label)
    if count is not None and share is None:
        return random_rows(candidates, count, source.draws)
    if share is not None and count is None:
        return random_share(candidates, share, source.draws)
    raise BadInput(
        f"count={count} and share={share}",
        expected="one of the two",
        fix="give count= a number of rows, or share= e.g. 0.1",
    )


def _class(source: _Source, *, label: int) -> Tensor:
    return source.candidates(label)


def _principal(
    source: _Source,
    *,
    count: int,
    component: int = 0,
    end: str = "top",
    of: str = "inputs",
    label: int | None = None,
) -> Tensor:
    if of not in OF:
        raise BadInput(
            f"principal components of '{of}'{nearest_name(of, OF)}",
            expected=f"one of {', '.join(OF)}",
            fix="choose one",
        )
    candidates = source.candidates(label)
    if of == "inputs":
        features = source.features()
    else:
        features = attribution_matrix(*source.margins("principal components of attribution"))
    return principal_end(features, candidates, count, component=component, end=end)


def _nearest(source: _Source, *, row: int, count: int, label: int | None = None) -> Tensor:
    return nearest(source.features(), row, count, source.candidates(label))


def _memorised(source: _Source, *, count: int, label: int | None = None) -> Tensor:
    scores = self_influence(*source.margins("the most memorised rows"))
    return most_memorised(scores, count, source.candidates(label))


def _file(source: _Source, *, path: str) -> Tensor:
    return listed(source.problem, path)


KINDS: dict[str, Callable[..., Tensor]] = {
    "random": _random,
    "class": _class,
    "principal": _principal,
    "nearest": _nearest,
    "memorised": _memorised,
    "file": _file,
}


def _require_settings(kind: str, settings: dict[str, Any]) -> None:
    known = dict(inspect.signature(KINDS[kind]).parameters)
    del known["source"]
    for name, value in settings.items():
        if name not in known:
            raise BadInput(
                f"forget sets of kind '{kind}' have no setting '{name}'{nearest_name(name, known)}",
                expected=f"one of {', '.join(known)}",
                fix="correct the setting, or leave it out",
            )
        whole, number = name in WHOLE_NUMBERS, name == "share"
        wanted = Integral if whole else Real if number else str
        optional = known[name].default is None and value is None
        if not optional and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise BadInput(
                f"{name} = {value!r} for a forget set of kind '{kind}'",
                expected="a whole number" if whole else "a number" if number else "a text",
                fix="correct the setting",
            )
    required = [name for name, field in known.items() if field.default is field.empty]
    missing = [name for name in required if name not in settings]
    if missing:
        raise BadInput(
            f"a forget set of kind '{kind}' without {missing[0]}",
            expected=f"the settings {', '.join(required)}",
            fix=f"add {missing[0]}=",
        )
