"""Linear models whose gradients are written out, and descent with them: what these tests share.

Batches hold all rows, so that a pass is one step and the order of rows does not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from expunge.contract.problems import CLASSES, FEATURES, FORGET, at, generator, logistic
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.methods import MethodInputs
from expunge.problem import Classification, Problem

WHOLE = {"batch_size": 1000, "forget_batch_size": 1000}

Slope = Callable[[Tensor], Tensor]  # weights -> gradient, of the same shape


def start(seed: int = 0, classes: int = CLASSES) -> Tensor:
    """Weights (classes, FEATURES) of both signs, of no special place."""
    return torch.randn(classes, FEATURES, generator=generator(seed), dtype=torch.float64)


def two_class_linear() -> nn.Module:
    return nn.Linear(FEATURES, 2, bias=False).double()


def two_classes(l2: float = 0.1) -> Problem:
    """Logistic regression of two classes, where the only other label is the other one."""
    problem = logistic()
    data = TensorData(problem.train.inputs, problem.train.targets % 2)
    recipe = replace(problem.recipe, build=two_class_linear, l2=l2)
    made = replace(problem, task=Classification(2), train=data, validation=data, recipe=recipe)
    return made.forgetting(list(FORGET))


def rows_of(problem: Problem, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs, and the true classes one-hot."""
    x, y = problem.train.inputs[rows], problem.train.targets[rows]
    return x, torch.eye(problem.task.classes, dtype=x.dtype)[y]


def pull(theta: Tensor, x: Tensor, wanted: Tensor, temperature: float = 1.0) -> Tensor:
    """Gradient of the mean over rows of T^2 KL(wanted || softmax(x theta / T)), (C, FEATURES).

    For one-hot or any other fixed `wanted` and T = 1 this is that of the cross-entropy.
    """
    p = (x @ theta.T / temperature).softmax(1)
    return temperature * (p - wanted).T @ x / len(x)


def descended(theta: Tensor, lr: float, slopes: Sequence[Slope], momentum: float = 0.9) -> Tensor:
    """The weights after one step of SGD with momentum on each of these gradients in turn."""
    v = torch.zeros_like(theta)
    for slope in slopes:
        v = momentum * v + slope(theta)
        theta = theta - lr * v
    return theta


def model(theta: Tensor) -> Ensemble:
    """One linear model with these weights."""
    return at(theta, lambda: nn.Linear(theta.shape[1], theta.shape[0], bias=False).double())


def models(thetas: Sequence[Tensor], group: int = 50) -> Ensemble:
    """Several."""
    made = [model(theta).template for theta in thetas]
    return Ensemble.stack(made, range(len(made)), group)


def weight(found: Ensemble, member: int = 0) -> Tensor:
    """The only parameter of one member."""
    (value,) = found.tensors().values()
    return value[member]


class Recording(Classification):
    """Writes down the rows and the targets of every batch whose loss is taken."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__(classes)
        self.seen: list[tuple[list[int], list[int]]] = []

    def loss(self, outputs, batch):
        self.seen.append((batch.rows.tolist(), batch.targets.tolist()))
        return super().loss(outputs, batch)


class Watching:
    """For `MethodInputs.watch`: gradients and weights of one group after each step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.gradients: list[dict[str, Tensor]] = []

    def __call__(self, before: Ensemble) -> Callable[[int, Ensemble], None]:
        def look(step: int, models: Ensemble) -> None:
            named = models.weights().items()
            self.weights.append({n: w.detach().clone() for n, w in named})
            if step:
                self.gradients.append({n: w.grad.clone() for n, w in named})

        return look

    @property
    def inputs(self) -> MethodInputs:
        return MethodInputs(watch=self)
