"""One round of a benchmark: a forget set with a seed, its models, and what it takes to judge."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expunge.api.collect_outputs import OutputBlocks, collect_outputs
from expunge.api.panel import Panel
from expunge.api.predictions import Predictions
from expunge.attribution.fit import Fit, fit
from expunge.bench.answers import GROUPS, Cell
from expunge.bench.answers import answers as reduced
from expunge.bench.config import SECOND, Config, ForgetSet
from expunge.engine.answers import answers
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.fanout.runtime import Runtime
from expunge.forget_sets import FORGET_SETS, build
from expunge.methods.fisher import emptied_classes
from expunge.problem import Problem
from expunge.rng import Draws
from expunge.training.from_recipe import untrained
from expunge.training.model_cache import ModelCache
from expunge.zoo.data_folder import data_file


@dataclass(frozen=True)
class Round:
    """A forget set with a seed; its models are those of `cache`.

    Attributes:
        config: of the benchmark.
        forget_set: which rows are forgotten.
        cache: makes and keeps the models, with this round's seed.
        fitted: the attribution, where some method needs it.
    """

    config: Config
    forget_set: ForgetSet
    cache: ModelCache
    fitted: Fit | None

    @property
    def seed(self) -> int:
        """Of the models, the methods and a random forget set."""
        return self.cache.runtime.seed

    @property
    def problem(self) -> Problem:
        """With the rows to forget."""
        return self.cache.problem

    @cached_property
    def panel(self) -> Panel:
        """The rows on which this round judges, validation rows for tuning among them.

        The relearning probe is only made of models that are judged.
        """
        return Panel.of(
            self.problem,
            self.config.judged_rows,
            validation=True,
            relearning=self.config.relearning if self.seed in self.config.seeds else 0,
        )

    @cached_property
    def predictions(self) -> Predictions:
        """The predicted changes of the outputs."""
        return Predictions(self.problem, self.fitted, self.seed)

    @cached_property
    def emptied(self) -> Tensor:
        """Classes of which nothing is retained."""
        return emptied_classes(self.problem)

    @cached_property
    def seen(self) -> dict[str, OutputBlocks]:
        """What originals and oracles say on the panel, by role."""
        return collect_outputs(self.cache, self.panel, self.roles)

    @property
    def roles(self) -> dict[str, int]:
        """Models that are judged or that judge."""
        members = self.config.members
        second = {"null": members} if members >= SECOND else {}
        return {"original": members, "oracle": members, **second}

    @cached_property
    def targets(self) -> dict[str, Tensor]:
        """True classes and row numbers on the panel."""
        return self.panel.targets(self.problem)

    def blank(self, members: range) -> Tensor:
        """Outputs of untrained models on the forgotten rows, (members, rows, C)."""
        device = self.cache.runtime.device
        found = []
        for seed in Draws((self.seed, "untrained")).of(members).seeds():
            module = untrained(self.problem, self.cache.template, seed)
            models = Ensemble.of(module).to(device)
            found.append(models.outputs(self.problem.task, self.problem.train, self.problem.forget))
        return torch.cat(found)

    def judged(self, outputs: OutputBlocks) -> Cell:
        """Answers as they are judged: the test rows are test rows."""
        blocks = ({group: block[group] for group in GROUPS} for block in outputs)
        untrained = self.blank if "ZRF" in self.config.metrics else None
        return reduced(blocks, self.targets, untrained)

    @cached_property
    def tuning(self) -> dict[str, Cell]:
        """What trials are compared with: of originals and oracles, as settings are chosen by."""
        return {role: self.tuned(said) for role, said in self.seen.items()}

    def tuned(self, outputs: OutputBlocks) -> Cell:
        """Answers as settings are chosen by: validation rows stand in the place of test rows."""
        blocks = ({**{g: b[g] for g in GROUPS}, "test": b["validation"]} for b in outputs)
        targets = {
            **self.targets,
            "test": self.targets["validation"],
            "test_rows": self.targets["validation_rows"],
        }
        return reduced(blocks, targets, None)

    def training_cost(self) -> Cost:
        """What one retraining was counted to cost."""
        keys = self.cache.keys("oracle", self.config.members)
        return Cost(**self.cache.kept(keys[0]).facts["cost"])


def halves(cache: ModelCache, count: int) -> tuple[Tensor, Tensor]:
    """Half-data models' memberships and margins on train rows, as forget sets are built from."""
    found, train = fit(cache, count).halves, cache.problem.train
    inside = found.memberships(torch.arange(len(train))).bool()
    rows, task = torch.arange(len(train)), cache.problem.task
    return inside, torch.cat(
        [answers(task, train, rows, block["train"])[1] for block in found.blocks]
    )


def rounds(
    config: Config, base: Problem, runtime: Runtime, seeds: tuple[int, ...], fitted: Fit | None
) -> list[Round]:
    """Every forget set with every one of these seeds; attribution serves them all.

    Raises:
        BadInput: a forget set that cannot be built.
    """
    made, known = [], None
    for forget_set in config.forget:
        chosen = FORGET_SETS.make(forget_set.kind, forget_set.settings)
        needs = getattr(chosen, "needs_margins", False)
        if needs and known is None:
            known = halves(ModelCache(base, runtime), config.half_models)
        for seed in seeds:
            rows = build(
                forget_set.kind,
                base,
                seed=seed,
                margins_of_halves=known if needs else None,
                **_settings(forget_set),
            )
            cache = ModelCache(base.forgetting(rows), replace(runtime, seed=seed))
            made.append(Round(config, forget_set, cache, fitted))
    return made


def _settings(forget_set: ForgetSet) -> dict[str, Any]:
    """As `build` takes them: the path of a file is one below the data folder, unless absolute."""
    path = forget_set.settings.get("path")
    if not isinstance(path, str) or Path(path).is_absolute():
        return forget_set.settings
    return {**forget_set.settings, "path": str(data_file(None, path, "the rows to forget"))}
