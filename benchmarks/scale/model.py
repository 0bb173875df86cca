"""What requests and evidence cost: row units, bytes and seconds, as pure functions.

A row unit is a row read forward by one model; its backward pass is two. Row units are the package's
own prices (`Method.price`, `attribution.kinds.price`, `train.retrain_units`), asked of a `Counted`
problem, which knows how many rows there are and not which. Bytes are those that the store writes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from expunge.api.attribution_cost import half_units
from expunge.api.panel import LARGEST
from expunge.attribution import registry as kinds
from expunge.curvature.bases import WIDE
from expunge.curvature.layers import layers
from expunge.methods import METHODS, Method
from expunge.problem import Recipe
from expunge.training.from_recipe import retrain_units

FLOAT, ROW = 4, 8  # bytes of a number of a model, and of a row's number
VECTORS = 6  # shaped as the weights, that conjugate gradients hold at once
ONCE = "linearised:damping=0.01"  # the damping is named so that no price waits for its simulation
COMBINED = "combined:damping=0.01"
EVIDENCE = {"original": 100, "oracle": 100, "null": 100}  # KLoM's groups of models
FEW = {"oracle": 10}  # of which `distance` makes do


class Span(NamedTuple):
    """Something known only to lie between two numbers."""

    low: float
    high: float

    def of(self, amount: float) -> "Span":
        """So much of it."""
        return Span(self.low * amount, self.high * amount)

    def taken(self, amount: float) -> "Span":
        """What so much takes at this rate."""
        return Span(amount / self.high, amount / self.low)


@dataclass(frozen=True)
class Shape:
    """A model as costs see it."""

    name: str
    weights: int  # trainable
    outputs: int  # C, numbers a row
    sides: tuple[tuple[int, int, int], ...]  # (o, a) of the matrices of layers, and how many
    frozen: int = 0  # weights that are not trained
    buffers: int = 0  # bytes
    states: int = 1  # numbers that the optimizer keeps a weight: 0 SGD, 1 momentum, 2 Adam

    @classmethod
    def of(cls, name: str, module: nn.Module, outputs: int, states: int = 0) -> "Shape":
        """The shape of a real module."""
        trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
        every = sum(p.numel() for p in module.parameters())
        kept = set(module.state_dict())
        buffers = sum(b.nbytes for n, b in module.named_buffers() if n in kept)
        sides = tuple((*layer.shape, 1) for layer in layers(module))
        return cls(name, trained, outputs, sides, every - trained, buffers, states)


@dataclass(frozen=True)
class Counted:
    """As much of a Problem as prices look at."""

    rows: int
    forgotten: int
    recipe: Recipe

    @property
    def training(self) -> Recipe:
        """How the models were trained."""
        return self.recipe

    @property
    def present_rows(self) -> range:
        """S."""
        return range(self.rows)

    @property
    def forget(self) -> range:
        """F."""
        return range(self.forgotten)

    @property
    def retain(self) -> range:
        """R."""
        return range(self.rows - self.forgotten)


def counted(rows: int, forgotten: int, epochs: int, batch_size: int = 256) -> Any:
    """A problem of so many rows, for prices alone."""
    optimizer = partial(torch.optim.SGD, lr=0.1)
    return Counted(rows, forgotten, Recipe(nn.Identity, epochs, batch_size, optimizer))


def trainings(problem: Any, models: dict[str, int]) -> int:
    """Row units of training so many models, by role; half-data models are "subset"."""
    whole, half = retrain_units(problem), half_units(problem)
    assert whole is not None, "a recipe has epochs"
    original = whole + whole * len(problem.forget) // len(problem.retain)
    each = {"original": original, "subset": half}
    return sum(count * each.get(role, whole) for role, count in models.items())


def attribution(problem: Any, method: Method, named: str = ONCE) -> int:
    """Row units of predicting what one model should say, for the rows that a method asks about."""
    price = method.price(problem)
    return kinds.price(named, problem, price.forward_rows - price.backward_rows).row_units


def unlearning(problem: Any, named: str = "dmm") -> int:
    """Row units of a method at its defaults, its attribution not counted."""
    return METHODS[named]().price(problem).row_units


def forgetting(problem: Any, named: str = ONCE) -> int:
    """Row units of one request by dmm: matching and attribution."""
    return unlearning(problem) + attribution(problem, METHODS["dmm"](), named)


def model_bytes(shape: Shape, members: int = 1) -> int:
    """Of trained models in the store: all weights, frozen ones too, and buffers."""
    return members * (FLOAT * (shape.weights + shape.frozen) + shape.buffers)


def half_bytes(shape: Shape, present: int, judged: int, members: int = 1) -> int:
    """Of half-data models: outputs on the train rows and the others, and the rows trained on."""
    return members * (FLOAT * shape.outputs * (present + judged) + ROW * (present // 2))


def halfway_bytes(shape: Shape, members: int = 1) -> int:
    """Of what is kept of a training every minute: the model, the average, the optimizer."""
    moving = FLOAT * shape.weights * (1 + shape.states)
    return model_bytes(shape, members) + members * moving


def evidence_bytes(shape: Shape, forgotten: int, files: dict[str, int]) -> int:
    """Of an evidence folder: outputs of each group of models on the rows of the panel."""
    return FLOAT * shape.outputs * (forgotten + 2 * LARGEST) * sum(files.values())


def margin_bytes(rows: int, members: int) -> int:
    """Of one number a row, instead of all outputs."""
    return FLOAT * rows * members


def bookkeeping_bytes(rows: int) -> int:
    """In memory of every process: which rows are present, R, one epoch's order, and hashes."""
    return rows * (1 + ROW + ROW + 2 * ROW)


def curvature_bytes(shape: Shape) -> int:
    """In memory: EK-FAC, squares of the sides that are not wide and one number a weight."""
    squares = sum(n * (_square(o) + _square(a)) for o, a, n in shape.sides)
    return FLOAT * (squares + shape.weights)


def linearised_bytes(shape: Shape) -> int:
    """In memory: linearised attribution of one model, what layers hold of a batch aside."""
    return model_bytes(shape) + curvature_bytes(shape) + FLOAT * VECTORS * shape.weights


def training_bytes(shape: Shape) -> int:
    """In memory: weights, gradients, the average and the optimizer, activations aside."""
    return model_bytes(shape) + FLOAT * shape.weights * (2 + shape.states)


def cubes(shape: Shape) -> float:
    """Of the sides whose eigenvectors EK-FAC takes: what that takes grows with them."""
    return float(sum(n * (_cube(o) + _cube(a)) for o, a, n in shape.sides))


def _square(side: int) -> int:
    return 0 if side > WIDE else side**2


def _cube(side: int) -> int:
    return 0 if side > WIDE else side**3
