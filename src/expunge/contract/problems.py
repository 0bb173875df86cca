"""Small problems with known answers; every function is at module level, so processes can import it.

A builder returns a whole Problem. `tiny` trains in a hundredth of a second; `ridge` and `logistic`
are convex, in float64, with recipes that reach the optimum.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.problem import Classification, Problem, Recipe, Regression
from expunge.rng import seeded

ROWS, FEATURES, CLASSES = 60, 6, 3
FORGET = (3, 7, 11, 19, 30, 58)

SGD = partial(torch.optim.SGD, lr=0.1)
ADAM = partial(torch.optim.Adam, lr=0.01)


def generator(seed: int) -> torch.Generator:
    """A generator of its own, with this seed."""
    return torch.Generator().manual_seed(seed)


# ---- models


def mlp() -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def mlp64() -> nn.Module:
    """The same in float64."""
    return mlp().double()


def batchnorm() -> nn.Module:
    """One hidden layer with batch norm."""
    return nn.Sequential(
        nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES)
    )


def batchnorm64() -> nn.Module:
    """The same in float64."""
    return batchnorm().double()


def dropout() -> nn.Module:
    """One hidden layer with dropout, which `vmap` refuses."""
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, CLASSES))


class Recurrent(nn.Module):
    """An LSTM, which `vmap` refuses."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (rows, CLASSES)."""
        return self.head(self.lstm(x.reshape(len(x), -1, 2))[0][:, -1])


class Fused(nn.Module):
    """Attention by a fused kernel that is called by its name, and has no forward derivative."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(2, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (rows, CLASSES)."""
        q = self.inner(x.reshape(len(x), 1, -1, 2))
        fused: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return self.head(fused(q, q, q)[0].mean((1, 2)))


class Reassigning(nn.Module):
    """Its forward puts a new tensor in the place of a buffer, which functional_call loses."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.register_buffer("seen", torch.zeros(FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (rows, CLASSES)."""
        if self.training:
            self.seen = 0.9 * self.seen + 0.1 * x.detach().mean(0)
        return self.net(x)


class Tied(nn.Module):
    """The first and the second layer are one parameter."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
        self.second.weight = self.first.weight
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (rows, CLASSES)."""
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


def half_frozen() -> nn.Module:
    """The first layer never trains, and is the same in every member."""
    net: Any = mlp()
    net[0].requires_grad_(False)
    with torch.no_grad():
        net[0].weight.copy_(torch.linspace(-1, 1, 8 * FEATURES).reshape(8, FEATURES))
        net[0].bias.zero_()
    return net


# ---- classification


def blobs(rows: int, seed: int, dtype: torch.dtype = torch.float32) -> TensorData:
    """Rows around three centres, noisy enough that models of other seeds differ."""
    g = generator(seed)
    centres = torch.randn(CLASSES, FEATURES, generator=generator(99))
    targets = torch.randint(CLASSES, (rows,), generator=g)
    inputs = centres[targets] + torch.randn(rows, FEATURES, generator=g)
    return TensorData(inputs.to(dtype), targets)


def tiny(build=mlp, dtype: torch.dtype = torch.float32, forget=FORGET, **recipe) -> Problem:
    """60 train rows, 6 features, 3 classes, a small network, 3 epochs."""
    settings = {"epochs": 3, "batch_size": 16, "optimizer": SGD, **recipe}
    problem = Problem(
        Classification(CLASSES),
        blobs(ROWS, 1, dtype),
        blobs(30, 2, dtype),
        blobs(24, 3, dtype),
        recipe=Recipe(build, **settings),
        name="three blobs",
    )
    return problem.forgetting(list(forget))


def tiny64(build=mlp64, **settings) -> Problem:
    """The same in float64."""
    return tiny(build, torch.float64, **settings)


def with_nan(problem: Problem, rows, *, targets: bool = False) -> Problem:
    """The same problem, the inputs (and real-valued targets) of these train rows all NaN."""
    data: Any = problem.train
    inputs, truth = data.inputs.clone(), data.targets.clone()
    inputs[rows] = float("nan")
    if targets:
        truth[rows] = float("nan")
    return replace(problem, train=TensorData(inputs, truth))


# ---- ridge regression


def linear() -> nn.Module:
    """One output, no bias, float64."""
    return nn.Linear(FEATURES, 1, bias=False).double()


def ridge(rows: int = 80, epochs: int = 80, l2: float = 0.1) -> Problem:
    """Full-batch descent on well-conditioned rows, to the optimum to the last digits."""
    g = generator(5)
    forget = list(FORGET)
    x = torch.randn(rows, FEATURES, generator=g, dtype=torch.float64)
    truth = torch.randn(FEATURES, generator=g, dtype=torch.float64)
    y = x @ truth + 0.5 * torch.randn(rows, generator=g, dtype=torch.float64)
    y[forget] += 3.0  # so that forgetting them matters
    other = torch.randn(20, FEATURES, generator=g, dtype=torch.float64)
    recipe = Recipe(
        linear, epochs=epochs, batch_size=rows, optimizer=partial(torch.optim.SGD, lr=0.5), l2=l2
    )
    problem = Problem(
        Regression(),
        TensorData(x, y),
        TensorData(other, other @ truth),
        recipe=recipe,
        name="ridge regression",
    )
    return problem.forgetting(forget)


def ridge_optimum(problem: Any, rows: Tensor) -> Tensor:
    """(FEATURES,), the minimum of mean((x theta - y)^2) / 2 + l2/2 |theta|^2 over these rows."""
    x, y = problem.train.inputs[rows], problem.train.targets[rows]
    penalty = problem.recipe.l2 * len(rows) * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(x.T @ x + penalty, x.T @ y)


def at(theta: Tensor, build=linear) -> Ensemble:
    """One linear model with these weights."""
    with seeded(0):
        module = build()
    with torch.no_grad():
        module.weight.copy_(theta)
    return Ensemble.of(module)


# ---- logistic regression


def softmax_linear() -> nn.Module:
    """An output a class, no bias, float64."""
    return nn.Linear(FEATURES, CLASSES, bias=False).double()


def logistic(epochs: int = 150) -> Problem:
    """Three-class logistic regression; momentum descent on the full batch reaches the optimum."""
    return tiny64(
        softmax_linear,
        epochs=epochs,
        batch_size=ROWS,
        l2=0.1,
        optimizer=partial(torch.optim.SGD, lr=0.5, momentum=0.7),
    )


def logistic_optimum(problem: Any, rows: Tensor) -> Tensor:
    """(CLASSES, FEATURES), by Newton's method on the mean loss plus l2/2 |theta|^2."""
    x, y = problem.train.inputs[rows], problem.train.targets[rows]
    truth, l2 = torch.nn.functional.one_hot(y, CLASSES), problem.recipe.l2
    size = CLASSES * FEATURES
    theta = gradient = torch.zeros(CLASSES, FEATURES, dtype=torch.float64)
    for _ in range(30):
        p = (x @ theta.T).softmax(1)
        gradient = (p - truth).T @ x / len(y) + l2 * theta
        spread = p.diag_embed() - p[:, :, None] * p[:, None, :]  # of the labels, (rows, C, C)
        curvature = torch.einsum("ncd,ni,nj->cidj", spread, x, x).reshape(size, size) / len(y)
        step = torch.linalg.solve(curvature + l2 * torch.eye(size), gradient.flatten())
        theta = theta - step.reshape(CLASSES, FEATURES)
    assert gradient.norm() < 1e-12
    return theta
