"""Diagonal Fisher information: how much each weight matters to some rows.

Source: the empirical form, squared gradients of the true labels' losses, as in Foster et al. 2024,
arXiv 2308.07707; the expected form, averaged over the labels that the model itself gives, as in
Golatkar et al. 2020, arXiv 1911.04933. Much published code squares the gradient of a batch's mean
loss, which is smaller by about the size of the batch, and depends on it: `together` does the same.
"""

from functools import partial

import torch
from torch import Tensor

from expunge.curvature.point import Point, Weights
from expunge.data import Batch


def squared_gradients(point: Point, rows: Tensor, together: int = 1) -> Weights:
    """Mean over pieces of the squared gradient of each piece's mean loss.

    Args:
        point: where.
        rows: row numbers, in the order in which pieces are cut.
        together: rows a piece; 1 is the empirical Fisher information, more is what published
            code computes.
    """
    total = {name: torch.zeros_like(w) for name, w in point.weights.items()}
    if together > 1:
        pieces = rows.split(together)
        for piece in pieces:
            for name, g in point.gradient(piece).items():
                total[name] += (g / len(piece)).square()
        return {name: value / len(pieces) for name, value in total.items()}
    for grads in point.row_gradients(rows):
        for name, g in grads.items():
            total[name] += g.square().sum(0)
    return {name: value / max(1, len(rows)) for name, value in total.items()}


def expected_fisher(point: Point, rows: Tensor, together: int = 1) -> Weights:
    """Mean over rows of sum_y p_y (d log p_y)^2, with p the model's own probabilities.

    For a regression, whose loss is that of a unit normal, this is the squared gradient of the
    output. With `together` above 1, both p_y and the gradients are means over a piece, before the
    square. Reads every row once for each class.
    """
    total = {name: torch.zeros_like(w) for name, w in point.weights.items()}
    pieces = rows.split(together)
    for y in range(classes_of(point)):
        if together > 1:
            for piece in pieces:
                root = point.gradient(piece, partial(_root, y=y))
                for name, g in root.items():
                    total[name] += (g / len(piece)).square()
            continue
        for grads in point.row_gradients(rows, partial(_root, y=y)):
            for name, g in grads.items():
                total[name] += g.square().sum(0)
    return {name: value / max(1, len(pieces)) for name, value in total.items()}


def classes_of(point: Point) -> int:
    """Outputs that the expected Fisher information sums over: the classes, or 1."""
    return getattr(point.task, "classes", 1)


def _root(outputs: Tensor, batch: Batch, y: int) -> Tensor:
    """sqrt(p_y) log p_y with the root constant: the square of its gradient has the factor p_y."""
    if outputs.shape[-1] == 1:
        return outputs[:, 0]
    log_p = outputs.log_softmax(-1)[:, y]
    return log_p.detach().exp().mean().sqrt() * log_p
