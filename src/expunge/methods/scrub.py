"""Move away from the original's answers on forgotten rows, and stay with them on the others
(SCRUB).

Source: Kurmanji et al. 2023, "Towards Unbounded Machine Unlearning", arXiv 2302.09880: in each of
the first `ascent_epochs` epochs a pass over the forgotten rows that ascends KL(original ||
student); in every epoch a pass over the retained rows that descends gamma x loss + alpha x
KL(original || student), both with temperature. With `rewind` (SCRUB+R) the weights of that epoch
come back whose error on forgotten rows is nearest to the final model's error on validation rows
of the same classes. Without batch norm or dropout the whole first pass over the forgotten rows
moves nothing: student and original are still the same, where the divergence has no slope. Differs:
SGD with momentum 0.9 (the released code also uses Adam), the learning rate stays, weight decay only
as the recipe's l2; its penalty and clipping are left out.
Cost: 4 x (epochs x |R| + ascent_epochs x |F|) row units, the original's forward pass included;
rewinding reads |F| rows more an epoch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.data import Batch, walk
from expunge.engine.batches import epochs
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.descent import JointLoss
from expunge.methods.finetune import Hook, descent_cost, passes
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.methods.teaching import answers
from expunge.problem import Problem
from expunge.registry import setting
from expunge.rng import Draws


@dataclass(frozen=True)
class SCRUB(JointLoss):
    """Ascend the distance to the original on forgotten rows, descend it on retained ones."""

    name: ClassVar[str] = "scrub"
    source: ClassVar[str] = "Kurmanji et al. 2023, arXiv 2302.09880"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "one forward a row read": "the original answers on the very batch of the student",
    }
    short: ClassVar[dict[str, Any]] = {"ascent_epochs": 1}
    forwards: ClassVar[int] = 2  # of each batch that is read: the original answers on it, too

    ascent_epochs: int = setting(
        2,
        "of these, the first that begin with a pass over the forgotten rows",
        unit="epochs",
        typical="1 to 5",
        least=0,
    )
    lr: float = setting(
        5e-4, "learning rate of SGD with momentum 0.9", typical="0.0001 to 0.01", least=0
    )
    gamma: float = setting(0.99, "weight of the training loss", typical="0.99 to 1", least=0)
    alpha: float = setting(
        0.001, "weight of the distance to the original", typical="0.001 to 0.5", least=0
    )
    temperature: float = setting(
        4.0, "divides the logits of student and original", typical="2 to 4", least=1e-3
    )
    forget_batch_size: int = setting(
        32, "forgotten rows a step", unit="rows", typical="32 to 512", least=1
    )
    rewind: bool = setting(
        False, "go back to the epoch whose forget error is nearest to that of unseen rows"
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        task = problem.training_task
        forgotten = torch.zeros(len(problem.train), dtype=torch.bool, device=models.device)
        forgotten[problem.forget] = True

        def objective(model: Any, batch: Batch, teacher: Tensor) -> Tensor:
            outputs = task.outputs(model, batch)
            apart = task.distance(outputs, teacher, batch, self.temperature).mean()
            keep = self.gamma * task.loss(outputs, batch).mean() + self.alpha * apart
            # a batch holds forgotten rows alone or retained rows alone
            return torch.where(forgotten[batch.rows[..., 0]], -apart, keep)

        def taught(
            before: Ensemble, draws: Draws, batches: tuple[Batch, ...]
        ) -> tuple[Batch, Tensor]:
            return batches[0], answers(before, task, batches[0])

        result = self.tuned(
            problem,
            models,
            inputs,
            objective,
            seed=seed,
            feed=taught,
            after=self._rewinding(problem) if self.rewind and len(problem.forget) else None,
        )
        if not len(problem.forget):
            return result
        return replace(result, cost=result.cost + self._looking(problem))

    def require(self, problem: Problem) -> None:
        """See `Method`."""
        if self.rewind and len(problem.forget):
            unseen_weight(problem)

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return self._descent(problem) + self._looking(problem)

    def _descent(self, problem: Problem) -> Cost:
        ascents = min(self.ascent_epochs, self.epochs)
        away = passes(problem.forget, self.forget_batch_size, ascents)
        return descent_cost(*away) + descent_cost(
            *passes(problem.retain, self.batch_size, self.epochs)
        )

    def _looking(self, problem: Problem) -> Cost:
        """What the original reads, and what the choice of an epoch reads."""
        looks = self.epochs * len(problem.forget) + len(problem.validation)
        rewinding = Cost(looks if self.rewind else 0)
        return Cost(self._descent(problem).forward_rows) + rewinding

    def steps(self, problem: Problem) -> int:
        """Gradient steps."""
        return self._ends(problem)[-1]

    def plans(self, problem: Problem, draws: Draws) -> list[Iterator[Tensor]]:
        """One stream, in which each batch is of forgotten or of retained rows alone."""
        return [self._plan(problem, draws)]

    def _ends(self, problem: Problem) -> list[int]:
        """The number of steps done at the end of each epoch."""
        away = passes(problem.forget, self.forget_batch_size, 1)[0]
        stay = passes(problem.retain, self.batch_size, 1)[0]
        return [
            epoch * stay + min(epoch, self.ascent_epochs) * away
            for epoch in range(1, self.epochs + 1)
        ]

    def _plan(self, problem: Problem, draws: Draws) -> Iterator[Tensor]:
        for epoch in range(self.epochs):
            if epoch < self.ascent_epochs:
                own = draws.at("forget", epoch)
                yield from epochs(problem.forget, self.forget_batch_size, 1, own)
            yield from epochs(problem.retain, self.batch_size, 1, draws.at("retain", epoch))

    def _rewinding(self, problem: Problem) -> Hook:
        ends, weight = self._ends(problem), unseen_weight(problem)

        def hook(before: Ensemble) -> Callable[[int, Ensemble], None]:
            kept: list[dict[str, Tensor]] = []
            errors: list[Tensor] = []

            def after(step: int, models: Ensemble) -> None:
                if step + 1 not in ends:
                    return
                kept.append({name: t.clone() for name, t in models.tensors().items()})
                errors.append(forget_error(problem, models))
                if step + 1 == ends[-1]:
                    goal = unseen_error(problem, models, weight)
                    chosen = (torch.stack(errors) - goal).abs().argmin(0)
                    put_back(models, kept, chosen)

            return after

        return hook


def forget_error(problem: Problem, models: Ensemble) -> Tensor:
    """Share of forgotten rows that each model gets wrong, (members,)."""
    return _wrong(problem, models, "train", problem.forget).mean(1)


def unseen_weight(problem: Problem) -> Tensor:
    """Of each validation row, so that together their classes are as frequent as in F; sums to 1.

    Raises:
        BadInput: no validation row has a class of F; a regression.
    """
    if problem.task.kind != "classification":
        raise BadInput(
            f"scrub with rewind on a {problem.task.kind}",
            expected="a classification, whose errors can be counted",
            fix="run scrub without --rewind",
        )
    rows = torch.arange(len(problem.validation))
    wanted, there = (
        _targets(problem, "train", problem.forget),
        _targets(problem, "validation", rows),
    )
    classes = int(torch.cat([wanted, there]).max()) + 1
    share = wanted.bincount(minlength=classes) / there.bincount(minlength=classes).clamp_min(1)
    weight = share[there].double()
    if not weight.sum():
        raise BadInput(
            "no validation row has the class of a forgotten row",
            expected="validation rows of the classes that are forgotten",
            fix="run scrub without --rewind, or add validation rows",
        )
    return weight / weight.sum()


def unseen_error(problem: Problem, models: Ensemble, weight: Tensor) -> Tensor:
    """Weighted share of validation rows that each model gets wrong, (members,)."""
    rows = torch.arange(len(problem.validation))
    return (_wrong(problem, models, "validation", rows) * weight).sum(1)


def put_back(models: Ensemble, kept: list[dict[str, Tensor]], chosen: Tensor) -> None:
    """Give each member of one group the weights and buffers of its chosen epoch, in place."""
    with torch.no_grad():
        own = models.tensors()  # views of the members' tensors
        for member, epoch in enumerate(chosen.tolist()):
            for name, value in own.items():
                value[member] = kept[epoch][name][member]


def _targets(problem: Problem, split: str, rows: Tensor) -> Tensor:
    batches = problem.served(split).batches(walk(rows))
    return torch.cat([batch.targets.cpu() for batch in batches])


def _wrong(problem: Problem, models: Ensemble, split: str, rows: Tensor) -> Tensor:
    outputs = models.outputs(problem.task, problem.served(split), rows)
    return (outputs.argmax(-1) != _targets(problem, split, rows)).double()
