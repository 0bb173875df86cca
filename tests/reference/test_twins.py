"""Each method against a naive twin: its formula in plain torch, on full batches, in float64.

Batches as large as the data make the order of rows irrelevant, and two classes leave random
labels no choice, so that the twins need no random draw of ours.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from expunge.contract.problems import FEATURES, generator
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.engine.shifted import Change
from expunge.methods import METHODS, MethodInputs, method
from expunge.problem import Classification, Problem, Recipe
from expunge.training.from_recipe import train

ALL = 1000  # batches that hold every row
L2 = 0.05


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def two_classes() -> Problem:
    g = generator(8)
    x = torch.randn(40, FEATURES, generator=g, dtype=torch.float64)
    y = (x[:, 0] + 0.5 * torch.randn(40, generator=g) > 0).long()
    recipe = Recipe(build, 5, 10, lambda named: torch.optim.SGD(named, lr=0.5), l2=L2)
    data = TensorData(x, y)
    return Problem(Classification(2), data, data, recipe=recipe).forgetting([1, 2, 5, 9, 30])


@dataclass
class Bench:
    """A copy of the original as the twin needs it."""

    problem: Problem

    def __post_init__(self):
        x, y = self.problem.train.inputs, self.problem.train.targets
        forget, retain = self.problem.forget, self.problem.retain
        self.x_f, self.y_f, self.x_r, self.y_r = x[forget], y[forget], x[retain], y[retain]
        (self.original,) = train(self.problem, "original", [0], seed=0)[0].modules()
        (self.teacher,) = train(self.problem, "teacher", [0], seed=0)[0].modules()
        self.x = torch.cat([self.x_f, self.x_r])

    def shift(self, x: torch.Tensor) -> torch.Tensor:
        """An invented prediction of how outputs change, exact in float32."""
        return torch.stack([x[:, 0], -x[:, 1]], 1).mul(8).round().div(8)

    def given(self) -> MethodInputs:
        def change(split, rows):
            mean = self.shift(self.problem.splits[split].inputs[rows])
            return Change(mean, torch.zeros_like(mean))

        return MethodInputs(change, Ensemble.of(self.teacher))


def descend(
    bench: Bench, loss: Callable[[nn.Module], torch.Tensor], steps: int, rate: float
) -> nn.Module:
    """SGD with momentum 0.9, written out."""
    model = copy.deepcopy(bench.original)
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    for _ in range(steps):
        grads = torch.autograd.grad(loss(model), list(model.parameters()))
        with torch.no_grad():
            for p, v, g in zip(model.parameters(), velocity, grads, strict=True):
                v.mul_(0.9).add_(g)
                p.sub_(rate * v)
    return model


def adam(bench: Bench, loss, steps: int, rate: float) -> nn.Module:
    """Adam with a learning rate that falls to zero in a line, written out."""
    model = copy.deepcopy(bench.original)
    first = [torch.zeros_like(p) for p in model.parameters()]
    second = [torch.zeros_like(p) for p in model.parameters()]
    for t in range(steps):
        grads = torch.autograd.grad(loss(model), list(model.parameters()))
        with torch.no_grad():
            for p, m, v, g in zip(model.parameters(), first, second, grads, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                unbiased = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.999 ** (t + 1))
                p.sub_(rate * (1 - t / steps) * unbiased[0] / (unbiased[1].sqrt() + 1e-8))
    return model


def norm(model: nn.Module) -> torch.Tensor:
    return 0.5 * L2 * sum(p.square().sum() for p in model.parameters())


def retrain(b: Bench) -> nn.Module:
    """The recipe's plain SGD from the weights that the package draws for a retraining."""
    short = 5
    (model,) = train(_no_steps(b.problem), "retrain", [0], seed=0)[0].modules()
    x, y = b.x_r, b.y_r
    for _ in range(short):
        loss = F.cross_entropy(model(x), y) + norm(model)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p.sub_(0.5 * g)
    return model


def _no_steps(problem: Problem) -> Problem:
    from dataclasses import replace

    still = replace(problem.recipe, epochs=1, schedule=lambda progress: 0.0)
    return replace(problem, recipe=still)


def fine_tune(b: Bench) -> nn.Module:
    return descend(b, lambda m: F.cross_entropy(m(b.x_r), b.y_r) + norm(m), 4, 0.1)


def gradient_ascent(b: Bench) -> nn.Module:
    return descend(b, lambda m: -F.cross_entropy(m(b.x_f), b.y_f), 4, 0.1)


def ascent_descent(b: Bench) -> nn.Module:
    def loss(m):
        keep, lose = F.cross_entropy(m(b.x_r), b.y_r), F.cross_entropy(m(b.x_f), b.y_f)
        return 0.7 * keep - 0.3 * lose + norm(m)

    return descend(b, loss, 4, 0.1)


def random_label(b: Bench) -> nn.Module:
    def loss(m):
        wrong = F.cross_entropy(m(b.x_f), 1 - b.y_f)
        return wrong + 0.7 * F.cross_entropy(m(b.x_r), b.y_r) + norm(m)

    return descend(b, loss, 4, 0.1)


def oracle_matching(b: Bench) -> nn.Module:
    target = b.teacher(b.x).detach()
    return adam(b, lambda m: (m(b.x) - target).square().mean(), 6, 0.05)


def oracle_matching_of_distributions(b: Bench) -> nn.Module:
    p = b.teacher(b.x).detach().log_softmax(1)
    return adam(b, lambda m: (p.exp() * (p - m(b.x).log_softmax(1))).sum(1).mean(), 6, 0.05)


def dmm(b: Bench) -> nn.Module:
    target = b.original(b.x).detach() + b.shift(b.x)
    return adam(b, lambda m: (m(b.x) - target).square().mean(), 6, 0.05)


def dmm_of_distributions(b: Bench) -> nn.Module:
    p = (b.original(b.x).detach() + b.shift(b.x)).log_softmax(1)
    return adam(b, lambda m: (p.exp() * (p - m(b.x).log_softmax(1))).sum(1).mean(), 6, 0.05)


def margin_of_two(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of two classes: the true one's logit less the other's."""
    own = z.gather(1, y[:, None])
    return (2 * own - z.sum(1, keepdim=True)).squeeze(1)


def dmm_of_margins(b: Bench) -> nn.Module:
    y = b.problem.train.targets
    target = margin_of_two(b.original(b.x).detach() + b.shift(b.x), y)
    return adam(b, lambda m: (margin_of_two(m(b.x), y) - target).square().mean(), 6, 0.05)


ROUNDING = 1e-12  # of sums in another order
TARGETS = 1e-5  # targets pass through float32, and Adam divides by the gradient's size
MATCH = {"steps": 6, "lr": 0.05, "forget_batch_size": ALL, "retain_batch_size": ALL}
PASSES = {"epochs": 4, "lr": 0.1, "batch_size": ALL}
BOTH = {**PASSES, "forget_batch_size": ALL, "alpha": 0.7}
KL = {**MATCH, "loss": "distribution"}
MARGIN = {**MATCH, "loss": "margin"}
TWINS = [
    ("retrain", {}, retrain, ROUNDING),
    ("fine-tune", PASSES, fine_tune, ROUNDING),
    ("gradient-ascent", PASSES, gradient_ascent, ROUNDING),
    ("ascent-descent", BOTH, ascent_descent, ROUNDING),
    ("random-label", BOTH, random_label, ROUNDING),
    ("oracle-matching", MATCH, oracle_matching, TARGETS),
    ("oracle-matching", KL, oracle_matching_of_distributions, TARGETS),
    ("dmm", MATCH, dmm, TARGETS),
    ("dmm", KL, dmm_of_distributions, TARGETS),
    ("dmm", MARGIN, dmm_of_margins, TARGETS),
]


@pytest.mark.parametrize(("name", "settings", "twin", "tolerance"), TWINS)
def test_a_method_is_its_formula(name, settings, twin, tolerance):
    problem = two_classes()
    if name == "retrain":
        from dataclasses import replace

        problem = replace(problem, recipe=replace(problem.recipe, batch_size=ALL))
    bench = Bench(problem)
    models = Ensemble.of(copy.deepcopy(bench.original))
    result = method(name, **settings)(problem, models, bench.given(), seed=0)
    wanted = dict(twin(bench).named_parameters())
    for key, value in result.models.tensors().items():
        assert (value[0] - wanted[key]).abs().max() < tolerance
    moved = [(wanted[k] - p).abs().max() for k, p in bench.original.named_parameters()]
    assert min(moved) > 100 * tolerance  # so that a missing term is seen


def test_dm_direct_adds_the_predicted_change():
    bench = Bench(two_classes())
    models = Ensemble.of(bench.original)
    result = method("dm-direct")(bench.problem, models, bench.given(), seed=0)
    found = result.models.outputs(bench.problem.task, bench.problem.train, torch.arange(40))[0]
    x = bench.problem.train.inputs
    assert (found - (bench.original(x) + bench.shift(x))).abs().max() < 1e-6


BY_HAND = {  # their formulas are written out in tests/unit/methods
    *("uniform-label", "l1-sparse", "salun", "salun-soft", "scrub", "bad-teacher"),
    *(
        "boundary-shrink",
        "boundary-expand",
        "influence",
        "fisher",
        "ssd",
        "single-gradient",
        "amnesiac",
    ),
}


def test_every_method_has_a_twin():
    assert {name for name, *_ in TWINS} | {"dm-direct"} | BY_HAND == set(METHODS)
