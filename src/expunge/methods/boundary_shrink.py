"""Teach each forgotten row the class that is nearest across the decision boundary (BS).

Source: Chen et al. 2023, "Boundary Unlearning", arXiv 2303.11570: the label of a forgotten row is
the original model's answer after one step of size eps along the sign of the loss's gradient in
the inputs; then the cross-entropy with these labels on forgotten rows alone. Differs: the label
is never the true one, where the step falls short of the boundary the nearest other class is taken
(the released code keeps the true one: `true_label`); the inputs are not clipped after the step;
rows are not augmented, and labels are made once. Cost: 3 x epochs x |F| row units, and 4 x |F|
for the labels.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.curvature.point import Point
from expunge.data import Batch
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.descent import ForgetLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result, unchanged
from expunge.problem import Problem
from expunge.registry import setting
from expunge.rng import Draws


@dataclass(frozen=True)
class BoundaryShrink(ForgetLoss):
    """Relabel forgotten rows with the nearest other class, and descend on them alone."""

    name: ClassVar[str] = "boundary-shrink"
    source: ClassVar[str] = "Chen et al. 2023, arXiv 2303.11570"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[dict[str, str]] = {
        "one forward a row read": "its labels take two forward passes of the same batch",
    }
    # fewer than the forgotten rows, so that their order counts
    short: ClassVar[dict[str, Any]] = {"batch_size": 4}

    epochs: int = setting(
        10, "passes over the forgotten rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        1e-4, "learning rate of SGD with momentum 0.9", typical="1e-6 to 0.01", least=0
    )
    eps: float = setting(
        0.1,
        "size of the step across the boundary",
        unit="of an input",
        typical="0.05 to 0.3 of the inputs' range",
        least=0,
    )
    true_label: bool = setting(
        False, "as published code: keep the true label where the step falls short"
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        task = problem.training_task
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        labels = torch.stack([self._across(problem, module) for module in models.modules()])
        place = torch.full((len(problem.train),), -1)
        place[problem.forget] = torch.arange(len(problem.forget))

        def objective(model: Any, forget: Batch) -> Tensor:
            return task.loss(task.outputs(model, forget), forget).mean()

        def relabelled(
            before: Ensemble, draws: Draws, batches: tuple[Batch, ...]
        ) -> tuple[Batch, ...]:
            (forget,) = batches
            own = torch.tensor([models.ids.index(member) for member in before.ids])
            found = labels[own[:, None], place[forget.rows.cpu()]]
            return (forget._replace(targets=found.to(forget.targets.device)),)

        result = self.tuned(
            problem,
            models,
            inputs,
            objective,
            seed=seed,
            feed=relabelled,
            augment=False,
        )
        return replace(result, cost=result.cost + self._labelling(problem))

    def price(self, problem: Problem) -> Cost:
        """See `Method`."""
        return super().price(problem) + self._labelling(problem)

    def require(self, problem: Problem) -> None:
        """See `Method`."""
        for batch in problem.served().batches([problem.forget[:1]]):
            _require_movable(problem, batch)

    def _labelling(self, problem: Problem) -> Cost:
        return Cost(2 * len(problem.forget), len(problem.forget))

    def _across(self, problem: Problem, module: torch.nn.Module) -> Tensor:
        """The class of each forgotten row after the step, int64, (rows,)."""
        point, found = Point(problem.task, problem.served(), module), []
        for batch in point.batches(problem.forget):
            _require_movable(problem, batch)
            inputs = batch.inputs.detach().clone().requires_grad_()
            loss = problem.task.loss(
                problem.task.outputs(module, batch._replace(inputs=inputs)), batch
            )
            (slope,) = torch.autograd.grad(loss.sum(), inputs)
            with torch.no_grad():
                moved = batch._replace(inputs=inputs + self.eps * slope.sign())
                outputs = problem.task.outputs(module, moved)
                if not self.true_label:
                    outputs = outputs.scatter(1, batch.targets[:, None], -inf)
                found.append(outputs.argmax(1).cpu())
        return torch.cat(found)


def _require_movable(problem: Problem, batch: Batch) -> None:
    inputs = batch.inputs
    if problem.task.kind != "classification":
        raise BadInput(
            f"boundary-shrink on a {problem.task.kind}",
            expected="a classification: there are no classes to move to",
            fix="choose random-label",
        )
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        kind = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise BadInput(
            f"inputs of {kind} for boundary-shrink",
            expected="one floating-point tensor, along whose gradient a step can be made",
            fix="choose random-label",
        )
