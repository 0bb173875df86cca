"""Move the forgotten rows into a new class, then cut that class away (BE).

Source: Chen et al. 2023, "Boundary Unlearning", arXiv 2303.11570: the last layer gets one class
more, the model is trained to give it to the forgotten rows alone, and the class is pruned before
anything is judged. Differs: batches are not augmented. A later port, with which published tables
were made, judges with the extra class, so that rows that fall into it count as forgotten
(`keep_class`). Cost: 3 x epochs x |F| row units.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from expunge.data import Batch, Data
from expunge.engine.descend import frozen_weights
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods.descent import ForgetLoss
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result, largest_change, unchanged
from expunge.problem import Classification, Problem, Task
from expunge.problem.penalised import penalised
from expunge.registry import setting
from expunge.rng import seeded
from expunge.training.from_recipe import training_loss


@dataclass(frozen=True)
class Widened:
    """Models whose answers have one class more than the task: (members, rows, C + 1)."""

    ensemble: Ensemble

    @property
    def ids(self) -> tuple[int, ...]:
        """Member numbers."""
        return self.ensemble.ids

    def outputs(self, task: Task, data: Data, rows: Tensor) -> Tensor:
        """(members, rows, C + 1)."""
        return self.ensemble.outputs(_wider(task), data, rows)


@dataclass(frozen=True)
class BoundaryExpand(ForgetLoss):
    """Train the forgotten rows into an extra class, which is then removed.

    It cannot be looked at while it descends: the models then have one class more than the task.
    """

    name: ClassVar[str] = "boundary-expand"
    source: ClassVar[str] = "Chen et al. 2023, arXiv 2303.11570"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()
    # fewer than the forgotten rows, so that their order counts
    short: ClassVar[dict[str, Any]] = {"batch_size": 4}

    epochs: int = setting(
        10, "passes over the forgotten rows", unit="epochs", typical="1 to 10", least=1
    )
    lr: float = setting(
        1e-4, "learning rate of SGD with momentum 0.9", typical="1e-6 to 0.01", least=0
    )
    keep_class: bool = setting(
        False, "as a published port: judge with the extra class; no model can be saved"
    )

    def require(self, problem: Problem) -> None:
        """See `Method`."""
        _wider(problem.task)

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`; with `keep_class` the result is a `Widened`."""
        if not len(problem.forget):
            return unchanged(models, "there were no rows to forget")
        if inputs.watch is not None:
            raise BadInput(
                "boundary-expand, to be looked at while it descends",
                expected="a method whose models keep their classes meanwhile",
                fix="choose boundary-shrink, which changes no layer",
            )
        task = _wider(problem.task)
        head, extra = last_layer(models.template, task.classes - 1), task.classes - 1
        frozen_weights(models, inputs.mask)  # refuses a mask by the shape that the caller knows
        seeds = self.draws(seed).of(models.ids).at("extra class").seeds()
        wide = Ensemble.stack(
            [widened(m, head, s) for m, s in zip(models.modules(), seeds, strict=True)],
            models.ids,
            models.group,
        )

        loss = training_loss(penalised(task, problem.training.penalty))

        def objective(model: Any, forget: Batch) -> Tensor:
            return loss(model, forget._replace(targets=torch.full_like(forget.targets, extra)))

        result = self.tuned(
            replace(problem, task=task),
            wide,
            replace(inputs, mask=_wider_mask(inputs, head)),
            objective,
            seed=seed,
            augment=False,
        )
        assert isinstance(result.models, Ensemble)
        originals = list(models.modules())
        cut = [
            narrowed(m, head, o) for m, o in zip(result.models.modules(), originals, strict=True)
        ]
        narrow = Ensemble.stack(cut, models.ids, models.group)
        changed = largest_change(models, narrow)
        return Result(Widened(result.models) if self.keep_class else narrow, result.cost, changed)


def last_layer(module: nn.Module, classes: int) -> str:
    """The name of the last linear layer with one output a class."""
    fitting = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and part.out_features == classes
    ]
    if not fitting:
        raise BadInput(
            f"boundary-expand found no linear layer with {classes} outputs",
            expected="a model that ends with nn.Linear(..., classes)",
            fix="choose boundary-shrink, which changes no layer",
        )
    head = fitting[-1]
    own = list(module.get_submodule(head).parameters())
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if name.rpartition(".")[0] != head and any(parameter is one for one in own):
            raise BadInput(
                f"boundary-expand on '{head}', whose weights are also '{name}'",
                expected="a last layer with weights of its own, which alone gets a class more",
                fix="choose boundary-shrink, which changes no layer",
            )
    return head


def widened(module: nn.Module, head: str, seed: int) -> nn.Module:
    """A copy whose layer `head` has one output more, drawn as a fresh layer is."""
    old = module.get_submodule(head)
    assert isinstance(old, nn.Linear)
    with seeded(seed):
        new = nn.Linear(old.in_features, old.out_features + 1, bias=old.bias is not None)
    new.to(old.weight)
    _copy(old, new, lambda t, like: t.__setitem__(slice(0, len(like)), like))
    return _with_head(module, head, new)


def narrowed(module: nn.Module, head: str, original: nn.Module) -> nn.Module:
    """A copy whose layer `head` has lost its last output, in the form of the original."""
    wide, old = module.get_submodule(head), original.get_submodule(head)
    assert isinstance(wide, nn.Linear)
    new = copy.deepcopy(old)
    assert isinstance(new, nn.Linear)
    _copy(wide, new, lambda t, like: t.copy_(like[: len(t)]))
    return _with_head(module, head, new)


def _copy(source: nn.Linear, goal: nn.Linear, put: Callable[[Tensor, Tensor], Any]) -> None:
    with torch.no_grad():
        put(goal.weight, source.weight)
        if source.bias is not None:
            put(goal.bias, source.bias)
    for name, parameter in goal.named_parameters():
        parameter.requires_grad_(source.get_parameter(name).requires_grad)


def _with_head(module: nn.Module, head: str, layer: nn.Linear) -> nn.Module:
    if not head:  # the model is a linear layer itself
        return layer
    made = copy.deepcopy(module)
    made.set_submodule(head, layer)
    return made


def _wider(task: Task) -> Classification:
    if not isinstance(task, Classification):
        raise BadInput(
            f"boundary-expand on a {task.kind}",
            expected="a classification: there are no classes to add to",
            fix="choose random-label",
        )
    wide = copy.copy(task)  # a subclass reads models in its own way
    wide.classes += 1
    return wide


def _wider_mask(inputs: MethodInputs, head: str) -> dict[str, Tensor] | None:
    """The mask with the extra class free to move."""
    if inputs.mask is None:
        return None
    mask = dict(inputs.mask)
    for part, axes in (("weight", 2), ("bias", 1)):
        name = f"{head}.{part}" if head else part
        if name in mask:
            axis = mask[name].ndim - axes
            free = torch.ones_like(mask[name].narrow(axis, 0, 1))
            mask[name] = torch.cat([mask[name], free], dim=axis)
    return mask
