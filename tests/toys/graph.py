"""A two-hop graph in small: a node's row holds its own features and those of its neighbourhood."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

import expunge

NODES, TRAIN, FEATURES, CLASSES = 60, 36, 4, 3


@dataclass(frozen=True)
class Nodes(expunge.Data):
    """Some nodes of a graph; the first TRAIN nodes are the train rows."""

    features: Tensor  # (nodes, features)
    labels: Tensor  # (nodes,)
    edges: Tensor  # (nodes, nodes), 0 or 1, symmetric
    own: Tensor  # nodes that are rows here
    here: Tensor  # (nodes,) bool: those that exist

    linked = True

    def __len__(self):
        return len(self.own)

    def batches(self, plan, training=False):
        edges = self.edges * self.here * self.here[:, None]
        x = torch.where(self.here[:, None], self.features, 0.0)
        near = edges @ x / edges.sum(1, keepdim=True).clamp_min(1.0)
        far = edges @ near / edges.sum(1, keepdim=True).clamp_min(1.0)
        rows_of_all = torch.cat([x, near, far], 1)
        for rows in plan:
            nodes = self.own[rows]
            yield expunge.Batch(rows_of_all[nodes], self.labels[nodes], rows)

    def restrict(self, present):
        here = torch.ones(NODES, dtype=torch.bool)
        here[:TRAIN] = present
        return replace(self, here=here)


def build():
    return nn.Linear(3 * FEATURES, CLASSES)


def problem(forget=(0, 1, 2), features=None):
    """Three classes of nodes, linked mostly within their class."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(NODES) % CLASSES
    centres = torch.randn(CLASSES, FEATURES, generator=g)
    drawn = centres[labels] + torch.randn(NODES, FEATURES, generator=g)
    likely = torch.where(labels[:, None] == labels, 0.15, 0.03)
    upper = (torch.rand(NODES, NODES, generator=g) < likely).triu(1).float()
    x = drawn if features is None else features(drawn)
    every, whole = torch.arange(NODES), torch.ones(NODES, dtype=torch.bool)
    parts = every[:TRAIN], every[TRAIN:48], every[48:]
    train, validation, test = (Nodes(x, labels, upper + upper.T, own, whole) for own in parts)
    recipe = expunge.Recipe(
        build, epochs=3, batch_size=12, optimizer=lambda p: torch.optim.SGD(p, lr=0.3)
    )
    asked = expunge.Problem(
        expunge.Classification(CLASSES), train, validation, test, recipe=recipe, name="a graph"
    )
    return asked.forgetting(list(forget))
