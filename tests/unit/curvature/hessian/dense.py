"""Models of many layers, and their dense Hessians."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    Recurrent,
    Tied,
    batchnorm64,
    generator,
    half_frozen,
    mlp,
    tiny64,
)
from expunge.curvature.point import Point
from expunge.problem import Classification
from expunge.problem.sd_penalty import SDPenalty
from expunge.rng import Draws, seeded

ROWS = torch.arange(40)
DRAWS = Draws((0, "test"))


class Pictures(nn.Module):
    """Two convolutions, batch norm and pooling of 1 x 4 x 4."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.GELU(),
            nn.Conv2d(3, 2, 3),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2, CLASSES),
        )

    def forward(self, x):
        return self.net(x[:, :4].repeat(1, 4).reshape(-1, 1, 4, 4))


class Embedded(nn.Module):
    """A bag of embedded tokens, of the signs of the features."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(2 * FEATURES, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        tokens = torch.arange(FEATURES) + FEATURES * (x > 0).long()
        return self.head(torch.tanh(self.table(tokens)).mean(1))


class Attentive(nn.Module):
    """Self-attention over the features, by the fused kernels unless weights are asked for."""

    def __init__(self, weights: bool):
        super().__init__()
        self.lift, self.head = nn.Linear(1, 4), nn.Linear(4, CLASSES)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.weights = weights

    def forward(self, x):
        h = self.lift(x[..., None])
        return self.head(self.attention(h, h, h, need_weights=self.weights)[0].mean(1))


class Encoder(nn.Module):
    """A whole layer of a transformer."""

    def __init__(self):
        super().__init__()
        self.lift, self.head = nn.Linear(1, 4), nn.Linear(4, CLASSES)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def forward(self, x):
        return self.head(self.layer(self.lift(x[..., None])).mean(1))


MODELS = {
    "perceptron": mlp,
    "batch norm": batchnorm64,
    "convolutions": Pictures,
    "lstm": Recurrent,
    "embedding": Embedded,
    "attention": partial(Attentive, False),
    "attention with weights": partial(Attentive, True),
    "transformer": Encoder,
    "tied": Tied,
    "half frozen": half_frozen,
}


def point(build, seed: int = 0, scale: float = 1.0) -> Point:
    problem = tiny64(build)
    with seeded(seed):
        module = build().double()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(scale)
    return Point(problem.task, problem.train, module)


def dense(here: Point, rows: Tensor = ROWS, score=None, l2: float = 0.0) -> Tensor:
    """The Hessian by differences of gradients' gradients, one weight at a time, in one batch."""
    (batch,) = here.data.batches([rows])
    names = list(here.weights)
    sizes = [here.weights[name].numel() for name in names]
    theta = torch.cat([here.weights[name].flatten() for name in names])

    def mean(theta: Tensor) -> Tensor:
        parts = theta.split(sizes)
        given = {n: p.view_as(here.weights[n]) for n, p in zip(names, parts, strict=True)}
        z = functional_call(here.module, given, batch.inputs)
        each = here.task.loss(z, batch) if score is None else score(z, batch)
        return each.mean() + 0.5 * l2 * theta.square().sum()

    training = here.module.training
    here.module.eval()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        found = torch.autograd.functional.hessian(mean, theta)
    here.module.train(training)
    return found


def largest(matrix: Tensor) -> float:
    values = torch.linalg.eigvalsh(matrix)
    return float(values[values.abs().argmax()])


def flat(weights) -> Tensor:
    return torch.cat([w.flatten() for w in weights.values()])


def random_vector(here: Point, seed: int = 3) -> dict[str, Tensor]:
    g = generator(seed)
    return {n: torch.randn(w.shape, generator=g, dtype=w.dtype) for n, w in here.weights.items()}


def penalised(outputs, batch):
    return Classification(CLASSES).loss(outputs, batch) + SDPenalty(2.0)(outputs, batch)
