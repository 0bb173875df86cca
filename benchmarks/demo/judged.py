"""What the demo's benchmarks share: models of a problem, and how near retraining outputs are."""

from typing import Any

from expunge.api.collect_outputs import MethodOutputs, OutputBlocks, collect_outputs, unlearn
from expunge.api.panel import Panel
from expunge.api.predictions import Predictions
from expunge.attribution.fit import fit
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import margins
from expunge.audit.metrics.klom import hidden, klom
from expunge.fanout.runtime import Runtime
from expunge.methods import Method
from expunge.problem import Problem
from expunge.training.model_cache import ModelCache

ROLES = ("original", "oracle", "null")


class Judged:
    """The models of a problem, made once: as many of each role, and half-data models."""

    def __init__(self, problem: Problem, runtime: Runtime, members: int, half_models: int) -> None:
        self.cache, self.panel = ModelCache(problem, runtime), Panel.of(problem)
        self.members = members
        roles = dict.fromkeys(ROLES, members)
        self.cache.make({**roles, "subset": half_models})
        self.predictions = Predictions(problem, fit(self.cache, half_models), runtime.seed)
        self.seen = collect_outputs(self.cache, self.panel, roles)
        self.targets = self.panel.targets(problem)

    def unlearn(self, methods: dict[str, Method]) -> dict[str, MethodOutputs]:
        """What the originals output after each method."""
        return unlearn(self.cache, self.panel, methods, self.members, self.predictions)

    def score(self, outputs: OutputBlocks, judge: str = "oracle") -> dict[str, Any]:
        """KLoM p95 by group, their average, and the share of rows that outliers hide from it."""
        kind = "classification"
        pairs = [
            [margins(side.whole(g), self.targets[g], kind) for side in (outputs, self.seen[judge])]
            for g in GROUPS
        ]
        values = [float(klom(u, o).quantile(0.95)) for u, o in pairs]
        lost = max(float(hidden(u, o).double().mean()) for u, o in pairs)
        average = {"average_p95": sum(values) / 3, "hidden": lost}
        return {**dict(zip(GROUPS, values, strict=True)), **average}
