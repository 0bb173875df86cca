"""Models that are made once and kept: a role's members come out of the store, or go into it."""

import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from expunge import fanout, store
from expunge.data.fingerprints import fingerprints
from expunge.data.progress import with_progress
from expunge.engine.cost import Cost
from expunge.engine.ensemble import LARGEST_GROUP, Ensemble, StorableModels
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime, named
from expunge.problem import Problem
from expunge.store.checkpoint import Checkpoint
from expunge.training.from_recipe import (
    built,
    require_training,
    rows_of,
    subset_rows,
    train,
    trained_on,
)
from expunge.training.group_size import GroupSize, choose_group, with_channels_last
from expunge.training.process_count import ProcessCount, choose_processes
from expunge.training.recipe_id import probe_models, recipe_fingerprint, require_seeded
from expunge.training.unrolled.history import History

T = TypeVar("T", GroupSize, ProcessCount)
CHOICES = 2  # raised when more ways of training are tried


class ModelCache:
    """Makes and keeps models of one problem; what a store already holds is not made again."""

    def __init__(self, problem: Problem, runtime: Runtime) -> None:
        self.problem, self.runtime = problem, runtime

    @cached_property
    def recipe_id(self) -> str:
        """The recipe's name in the store, by what it does."""
        return recipe_fingerprint(self.problem, self.runtime.store, self.runtime.device)

    @cached_property
    def content(self) -> Tensor:
        """(n, 2) hashes of the rows present; zero where a row is absent."""
        present = self.problem.present_rows
        hashes = torch.zeros(len(self.problem.train), 2, dtype=torch.int64)
        shown = self.runtime.progress
        with with_progress(self.problem.train, "Hashing rows", len(present), shown) as train:
            hashes[present] = fingerprints(train, present)
        return hashes

    def _content(self, rows: Tensor) -> Tensor:
        """Hashes of what models trained on these rows see of them, (rows, 2)."""
        seen = trained_on(self.problem, rows)
        return self.content[rows] if seen is self.problem else fingerprints(seen.train, rows)

    @cached_property
    def eval_data_hash(self) -> str:
        """A hash of the content of all splits but train, on which half-data models are read."""
        return store.digest(
            {
                name: fingerprints(data, torch.arange(len(data)))
                for name, data in self.problem.splits.items()
                if name != "train"
            }
        )

    @cached_property
    def group(self) -> int:
        """Members a group: as asked, or chosen once per (recipe, machine, device) and kept."""
        chosen, asked = self.choice, self.runtime.group
        if asked is None or asked == chosen.group:
            return chosen.group
        if chosen.refused:
            raise BadInput(
                f"groups of {asked} members were asked for, but members must run alone "
                f"({chosen.refused})",
                expected="--group 1, or a model that can run in groups",
                fix="leave the group size out",
            )
        return min(asked, LARGEST_GROUP)

    @cached_property
    def choice(self) -> GroupSize:
        """How members are trained fastest here."""
        runtime = self.runtime
        where = [platform.node(), torch.__version__, runtime.device]
        key = store.key("groups", recipe=self.recipe_id, where=where, version=CHOICES)

        def choose() -> GroupSize:
            if not self.problem.training.stepwise:
                require_seeded(self.problem, runtime.device)
            with fanout.one_thread():
                return choose_group(self.problem, runtime.device)

        return self._chosen(key, GroupSize, choose, f", {runtime.spread_over}")

    def processes(self) -> int:
        """How many at once: as asked, or chosen once per (recipe, machine, device) and kept."""
        runtime, most = self.runtime, self.runtime.processes
        if runtime.jobs is not None or runtime.cluster or not self.problem.training.stepwise:
            return most
        where = [platform.node(), torch.__version__, runtime.device, most]
        trained = [self.group, self.channels_last]
        key = store.key("processes", recipe=self.recipe_id, where=where, trained=trained)
        choose = partial(choose_processes, self.arranged, self.group, runtime.device, most)
        return self._chosen(key, ProcessCount, choose).best

    def _chosen(self, key: str, kind: type[T], choose: Callable[[], T], more: str = "") -> T:
        """What the store holds under a key, or what is chosen now, kept and told."""
        runtime = self.runtime
        runtime.missing({key: ()})  # what is damaged is dropped, and so made again
        with runtime.store.making(key) as needed:
            if needed:
                chosen = choose()
                runtime.store.save(key, {}, chosen._asdict())
                fanout.say(f"{chosen.describe()}{more}.", runtime.progress)
                return chosen
        return kind(**self.kept(key).facts)

    @cached_property
    def channels_last(self) -> bool:
        """Whether members have the layout that was faster for a model alone."""
        return self.choice.channels_last and self.group == 1

    @cached_property
    def arranged(self) -> Problem:
        """The problem as it is trained: its recipe builds models of the chosen layout."""
        return with_channels_last(self.problem) if self.channels_last else self.problem

    def keys(self, role: str, count: int) -> list[str]:
        """The store keys of the blocks of a role's first `count` members."""
        rows = rows_of(self.problem, role)
        return [
            store.key(
                "outputs" if role == "subset" else "models",
                recipe=self.recipe_id,
                rows=hashlib.sha256(rows.numpy().tobytes()).hexdigest(),
                content=hashlib.sha256(self._content(rows).numpy().tobytes()).hexdigest(),
                role=role,
                seed=self.runtime.seed,
                members=[block[0], block[-1]],
                group=self.group,
                device=torch.device(self.runtime.device).type,
                eval_data_hash=self.eval_data_hash if role == "subset" else "",
                **({"channels_last": True} if self.channels_last else {}),
            )
            for block in self.blocks(count)
        ]

    def blocks(self, count: int) -> list[tuple[int, ...]]:
        """Member numbers 0..count-1 in blocks of one group: the unit of fan-out."""
        return [
            tuple(range(start, min(start + self.group, count)))
            for start in range(0, count, self.group)
        ]

    def make(self, counts: Mapping[str, int]) -> None:
        """Make whatever the store does not hold of each role's first `count` members."""
        make_all([(self, counts)])

    def orders(self, counts: Mapping[str, int]) -> dict[str, tuple]:
        """By key, the blocks of each role's first members, as `_make_block` takes them."""
        require_training(self.problem, "train " + ", ".join(counts))
        return {
            key: (self.arranged, role, ids, self.runtime, self.group, key)
            for role, count in counts.items()
            for key, ids in zip(self.keys(role, count), self.blocks(count), strict=True)
        }

    def models(self, role: str, count: int) -> Ensemble:
        """A role's first `count` members, made if need be, of a training that makes ensembles."""
        self.make({role: count})
        keys, blocks = self.keys(role, count), self.blocks(count)
        return Ensemble.concat([self.ensemble(k, ids) for k, ids in zip(keys, blocks, strict=True)])

    def block(self, key: str, ids: Sequence[int]) -> StorableModels:
        """The models of one block that the store holds."""
        tensors = self.kept(key).tensors
        own = require_training(self.problem, "load models").load(tensors, ids)
        return Ensemble.load(self.template, tensors, ids, self.group) if own is None else own

    def ensemble(self, key: str, ids: Sequence[int]) -> Ensemble:
        """The same of a training that makes ensembles."""
        models = self.block(key, ids)
        assert isinstance(models, Ensemble), "methods are refused before, see `require_accepted`"
        return models

    def history(self, ids: Sequence[int]) -> History:
        """How the originals of one block arose."""
        seed, device = self.runtime.seed, self.runtime.device
        return History(self.arranged, tuple(ids), seed, group=self.group, device=device)

    def half_models(self, count: int) -> Cost:
        """Make `count` half-data models, role "subset", if need be; returns the cost of one.

        Their blocks hold outputs, not weights: "rows", (members, |S| // 2) int64, what each was
        trained on; and for each split the outputs of all its rows, (members, rows, C) float32.
        """
        self.make({"subset": count})
        return Cost(**self.kept(self.keys("subset", count)[0]).facts["cost"])

    def kept(self, key: str) -> store.Stored:
        """What the store holds under a key that was made a moment ago."""
        found = self.runtime.store.load(key)
        if found is None:
            raise BadInput(
                f"the store at {self.runtime.store.root} lost {key} while it was in use",
                expected="a folder that nothing else cleans",
                fix="run the same command again; what is missing is made anew",
            )
        return found

    @cached_property
    def template(self) -> nn.Module:
        """A model as it is trained, to load weights into; look at it before work is spread."""
        models = self.built if self.arranged is self.problem else self._build(self.arranged)
        return models.template if isinstance(models, Ensemble) else nn.Module()

    @cached_property
    def built(self) -> StorableModels:
        """A model as the recipe builds it; nothing was timed for it."""
        return self._build(self.problem)

    def _build(self, problem: Problem) -> StorableModels:
        if require_training(problem, "build the model").stepwise:
            return Ensemble.of(built(problem, problem.retain, seed=0))
        # A Trainer builds a model only by training one: on as few rows as may be.
        return probe_models(problem, self.runtime.device)


def make_all(orders: Sequence[tuple[ModelCache, Mapping[str, int]]]) -> None:
    """Make what is missing for several caches of one store at once, so that no process idles."""
    tasks: dict[str, tuple] = {}
    for cache, counts in orders:
        tasks |= cache.orders(counts)  # the same originals serve many forget sets
    if tasks:
        sizes = {key: len(task[2]) for key, task in tasks.items()}
        names = {key: named(task[1], task[2]) for key, task in tasks.items()}
        first = orders[0][0]
        first.runtime.make(
            *(_make_block, tasks, "Training models", sizes, names), jobs=first.processes
        )


def _make_block(
    problem: Problem, role: str, ids: Sequence[int], runtime: Runtime, group: int, key: str
) -> None:
    checkpoint = Checkpoint(runtime.store, store.key("checkpoint", of=key))
    models, cost = train(
        problem,
        role,
        ids,
        seed=runtime.seed,
        group=group,
        device=runtime.device,
        checkpoint=checkpoint,
    )
    facts = {"role": role, "members": list(ids), "cost": cost.__dict__}
    if role == "subset":
        tensors = {"rows": subset_rows(problem, ids, runtime.seed)}
        for name, data in problem.splits.items():
            readable = problem.present_rows if name == "train" else torch.arange(len(data))
            outputs = models.outputs(problem.task, data, readable)
            tensors[name] = outputs.new_zeros(len(ids), len(data), outputs.shape[-1])
            tensors[name][:, readable] = outputs
    else:
        tensors = models.tensors()
    runtime.store.save(key, tensors, facts)
    checkpoint.drop()
