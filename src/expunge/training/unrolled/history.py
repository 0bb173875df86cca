"""How models arose by a recipe: where they began, which rows each step read, what it changed.

Draws depend only on (seed, role, member, step), so none of it need be kept: the beginning and the
order are drawn again. What a step changed is read from a recording, or found by training again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from expunge.curvature.point import Point, Weights
from expunge.data import Batch, Data
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Problem, Recipe
from expunge.rng import Draws
from expunge.training.from_recipe import (
    Watch,
    descend_by_recipe,
    fresh,
    planned,
    require_training,
    rows_of,
    train_group,
    training_feeds,
)
from expunge.training.unrolled.plain_sgd import require_plain
from expunge.training.unrolled.recording import Recording


@dataclass(frozen=True)
class History:
    """The trainings of some members of a role; everything is told for all of them at once.

    Attributes:
        problem: as it was when they were trained; its recipe is a Recipe.
        ids: member numbers.
        seed: of the evidence that they belong to.
        role: "original", or another role that trains on S or R.
        group: members trained at once; the last bits depend on it.
        device: where they were trained.
        recording: what one member's steps changed; without it they are trained again.
    """

    problem: Problem
    ids: tuple[int, ...]
    seed: int
    role: str = "original"
    group: int = 1
    device: str = "cpu"
    recording: Recording | None = None

    def __post_init__(self) -> None:
        if not require_training(self.problem, "tell how models arose").stepwise:
            raise BadInput(
                f"a history of models that a {type(self.problem.recipe).__name__} trained",
                expected="a problem with a Recipe: only its draws can be told again",
                fix="write the training as Problem(..., recipe=Recipe(...))",
            )

    def of(self, ids: Sequence[int]) -> "History":
        """The trainings of some of the members."""
        return replace(self, ids=tuple(ids))

    @property
    def recipe(self) -> Recipe:
        """How they were trained."""
        return self.problem.stepwise_recipe

    @property
    def rows(self) -> Tensor:
        """The rows that they were trained on, int64, sorted."""
        return rows_of(self.problem, self.role)

    @property
    def steps(self) -> int:
        """Optimizer steps of one training."""
        return self.recipe.steps(len(self.rows))

    @cached_property
    def plan(self) -> Tensor:
        """The rows of each step, int64, (members, steps, B)."""
        return torch.stack(list(planned(self.problem, self.rows, self._draws.of(self.ids))), dim=1)

    def start(self) -> Ensemble:
        """The members as they were before the first step."""
        models = fresh(self.problem, self.rows, self.ids, self._draws, self.group, self.device)
        require_plain(self.recipe, models)
        return models

    def rates(self, models: Ensemble) -> tuple[dict[str, float], Tensor]:
        """The full learning rate of each parameter, and the factor on it at each step, (steps,)."""
        weights = models.weights()
        made = self.recipe.optimizer(list(weights.items()))
        names = {id(weight): name for name, weight in weights.items()}
        full = {names[id(w)]: float(g["lr"]) for g in made.param_groups for w in g["params"]}
        factors = [self.recipe.schedule(step / self.steps) for step in range(self.steps)]
        return full, torch.tensor(factors, dtype=torch.float64)

    def shares(self, models: Ensemble, rows: Tensor, steps: int | None = None) -> Tensor:
        """How much of the full learning rate each row was given in all, float64, (members, rows).

        A row that is one of B in the batch of a step adds the schedule's factor at that step / B.
        Counted are so many first steps, or all.
        """
        _, factors = self.rates(models)
        given = torch.zeros(len(self.ids), len(self.problem.train), dtype=torch.float64)
        for step, factor in enumerate(factors[:steps].tolist()):
            batch = self.plan[:, step]
            part = torch.full(batch.shape, factor / batch.shape[1], dtype=torch.float64)
            given.scatter_add_(1, batch, part)
        return given[:, rows]

    def first_term(self, data: Data, rows: Tensor, steps: int | None = None) -> Weights:
        """What these rows added to the weights in the first term of unrolled SGD, negated.

        The sum over the steps of rate / B x their gradient in the batch, all gradients taken where
        the training began, in evaluation mode: of one member, by parameter name.

        Args:
            data: whose rows they are.
            rows: to be taken back.
            steps: so many first steps, or all.
        """
        start = self.start()
        full, _ = self.rates(start)
        (share,) = self.shares(start, rows, steps)
        scale = torch.zeros(len(data), dtype=share.dtype)
        scale[rows] = share

        task = self.problem.training_task

        def score(outputs: Tensor, batch: Batch) -> Tensor:
            losses = task.loss(outputs, batch)
            return losses * scale[batch.rows.cpu()].to(losses)

        taken = Point(task, data, start.template).gradient(rows, score)
        return {name: full[name] * value for name, value in taken.items()}

    def updates(self, rows: Tensor, gone: Tensor | None = None) -> Weights:
        """What the steps whose batches held one of these rows changed, summed, (members, ...).

        Args:
            rows: to be forgotten.
            gone: rows forgotten before in the same way; their steps are taken back already.
        """
        held = torch.isin(self.plan, rows).any(-1)  # (members, steps)
        if gone is not None:
            held &= ~torch.isin(self.plan, gone).any(-1)
        if self.recording is not None:
            (steps,) = held
            start = self.start().weights()
            total = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in start.items()}
            for step in steps.nonzero().squeeze(-1).tolist():
                for name, update in self.recording.update(step).items():
                    total[name] += update.to(total[name])
            return {name: value[None] for name, value in total.items()}
        parts = [
            self._again(slice(start, start + self.group), held)
            for start in range(0, len(self.ids), self.group)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def without(self, rows: Tensor, watch: Watch | None = None) -> Ensemble:
        """Naive retraining: the same beginning and order, these rows left out of their steps.

        A step goes on with the rest of its batch, divided as before by the whole batch's size, so
        that what is missing is what the rows added; a step with nothing left is left out. Members
        are trained one by one, and the rows are not read.

        Source: Thudi et al. 2022, "Unrolling SGD", arXiv 2109.13398, where the rows are one batch.

        Args:
            rows: to leave out.
            watch: see `descend`; each member is looked at by itself.
        """
        left, parts = self.rows[~torch.isin(self.rows, rows)], []
        for member, plan in zip(self.ids, self.plan, strict=True):
            kept = ~torch.isin(plan, rows)
            models = fresh(self.problem, left, [member], self._draws, 1, self.device)
            feeds = self._thinned(plan, kept, left[:1], self._draws.of([member]))
            descend_by_recipe(models, self.problem, feeds, len(self.rows), self._draws, watch=watch)
            parts.append(models)
        return Ensemble.concat(parts)

    @property
    def _draws(self) -> Draws:
        return Draws((self.seed, "train", self.role))

    def _thinned(
        self, plan: Tensor, kept: Tensor, spare: Tensor, draws: Draws
    ) -> Iterator[tuple[Batch, Tensor] | None]:
        """One member's feeds without the rows that are not kept, (steps, B) each."""
        # a spare row that stays is read in the place of one that is gone, so that draws by place in
        # the batch (augmentation) meet the rows that they met before
        full = (torch.where(k, rows, spare)[None] for rows, k in zip(plan, kept, strict=True))
        feeds = training_feeds(self.problem, full, draws, self.device)
        for (batch,), own in zip(feeds, kept, strict=True):
            if not own.any():
                yield None
                continue
            where = own.nonzero().squeeze(-1).to(batch.rows.device)
            rest = tree_map(lambda t, w=where: t[:, w], batch)
            yield rest, own.double().mean()[None].to(batch.rows.device)

    def _again(self, block: slice, held: Tensor) -> Weights:
        """Train one group again, and add up what its steps changed where they `held` a row."""
        before: Weights = {}
        total: Weights = {}

        def look(step: int, models: Ensemble) -> None:
            lone = models.stacked is None
            for name, weight in models.weights().items():
                now = weight.detach().clone()[None] if lone else weight.detach().clone()
                if step:
                    counts = held[block, step - 1].reshape(-1, *[1] * (now.ndim - 1))
                    moved = now.double() - before[name].double()  # exact
                    total[name] += torch.where(counts.to(now.device), moved, 0.0)
                else:
                    total[name] = torch.zeros_like(now, dtype=torch.float64)
                before[name] = now

        ids = self.ids[block]
        size = len(ids) if self.group > 1 else 1
        train_group(self.problem, self.rows, ids, self._draws, size, self.device, watch=look)
        return total
