"""Models retrained without each of several sets of rows: the truth that predictions answer to."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from expunge.attribution.attribution import Attribution
from expunge.engine.answers import answers
from expunge.engine.ensemble import Ensemble
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem
from expunge.rng import Draws
from expunge.training.model_cache import ModelCache, make_all


def random_sets(problem: Problem, seed: int, sets: int, count: int) -> list[Tensor]:
    """So many sets of so many present rows, drawn at random; a larger set holds the smaller one."""
    present = problem.present_rows
    draws = Draws((seed, "evaluate", "sets"))
    return [present[draws.at(k).permutation(len(present))[:count]] for k in range(sets)]


class LeftOut:
    """Models trained on all rows and without each set, and what they say.

    Args:
        problem: with a recipe; rows that it forgets play no part.
        sets: row numbers of each set left out.
        runtime: store, seed, processes, device; what the store holds is not trained again.
        models: retrained without each set, and as many originals.
        rows: test (or validation) rows that are judged, drawn at random.
    """

    def __init__(
        self, problem: Problem, sets: Sequence[Tensor], runtime: Runtime, models: int, rows: int
    ) -> None:
        base = problem.forgetting([])
        self.base, self.models = ModelCache(base, runtime), models
        self.caches = [ModelCache(base.forgetting(own), runtime) for own in sets]
        make_all(
            [
                (self.base, {"original": models}),
                *((cache, {"oracle": models}) for cache in self.caches),
            ]
        )
        self.problem = base
        self.split = "validation" if base.test is None else "test"
        order = Draws((runtime.seed, "evaluate", "rows")).permutation(len(base.judge))
        self.rows = order[:rows].sort().values
        self.originals = self.base.models("original", models).to(runtime.device)

    @property
    def forgotten(self) -> list[Tensor]:
        """The row numbers of each set, sorted."""
        return [cache.problem.forget for cache in self.caches]

    @cached_property
    def before(self) -> Tensor:
        """Margins of the judged rows by the originals, (models, rows)."""
        return self.margins(self.read(self.originals))

    @cached_property
    def after(self) -> list[dict[str, Tensor]]:
        """Of each set, margins (models, rows): "test" and "forgotten" without it, and "before"."""
        found = []
        for cache, own in zip(self.caches, self.forgotten, strict=True):
            oracles = cache.models("oracle", self.models).to(self.base.runtime.device)
            found.append(
                {
                    "test": self.margins(self.read(oracles)),
                    "forgotten": self.margins(self.read(oracles, own), own),
                    "before": self.margins(self.read(self.originals, own), own),
                }
            )
        return found

    @property
    def truth(self) -> Tensor:
        """Margins of the judged rows by each model without each set, (sets, models, rows)."""
        return torch.stack([after["test"] for after in self.after])

    def predict(self, made: Attribution, models: Ensemble, forget: Tensor) -> dict[str, Tensor]:
        """Margins of some originals with their predicted change, (members, rows), by group."""
        changes = made.changes(forget, {"train": forget, self.split: self.rows})
        found = {}
        for group, split, rows in (("forgotten", "train", forget), ("test", self.split, None)):
            outputs = self.read(models, rows) + changes[split].mean.float()
            found[group] = self.margins(outputs, rows)
        return found

    def read(self, models: Ensemble, rows: Tensor | None = None) -> Tensor:
        """Outputs of train rows, or of the rows that are judged: (members, rows, C)."""
        if rows is None:
            return models.outputs(self.problem.task, self.problem.judge, self.rows)
        return models.outputs(self.problem.task, self.problem.train, rows)

    def margins(self, outputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Margins of what `read` gave, (members, rows)."""
        data = self.problem.judge if rows is None else self.problem.train
        rows = self.rows if rows is None else rows
        return answers(self.problem.task, data, rows, outputs)[1]
