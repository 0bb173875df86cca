"""Products of the Gauss-Newton matrix with a vector, and the solution of linear systems by them.

The matrix is the mean over rows of J^T H J, J the derivative of the outputs and H the second
derivative of the loss in the outputs. For a linear model it is the Hessian of the loss; for any
model it is positive semi-definite, as a Hessian of a network is not, so that conjugate gradients
converge (Martens 2010, "Deep learning via Hessian-free optimization").
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap
from torch.utils._pytree import tree_map

from expunge.curvature.point import NUMBERS, Point, Weights
from expunge.data import Batch
from expunge.engine.kernels import stepwise_recurrence
from expunge.problem import Classification, Task


def gauss_newton_product(point: Point, rows: Tensor, vector: Weights) -> Weights:
    """The mean of J^T H J over these rows, times a vector shaped as the weights.

    Costs two forward passes, a tangent, which is two more, and a backward one: 6 units a row.
    """
    total = {name: torch.zeros_like(w) for name, w in point.weights.items()}
    for batch in point.batches(rows):

        def outputs(weights: Weights, batch: Any = batch) -> Tensor:
            return point.task.outputs(point.at(weights), batch)

        with stepwise_recurrence(point.module):
            z, tangent = jvp(outputs, (point.weights,), (vector,))[:2]
        bent = jvp(partial(output_slope, point.task, batch), (z,), (tangent,))[1]
        pull: Any = vjp(outputs, point.weights)[1]
        for name, value in pull(bent)[0].items():
            total[name] += value
    return {name: value / len(rows) for name, value in total.items()}


def output_slope(task: Task, batch: Batch, z: Tensor) -> Tensor:
    """The derivative of the loss in the outputs, (B, C)."""
    return grad(lambda z: task.loss(z, batch).sum())(z)


def output_curvature(task: Task, batch: Batch, z: Tensor) -> Tensor:
    """The second derivative of the loss in the outputs, H, (B, C, C)."""
    slope = partial(output_slope, task, batch)
    unit = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    return vmap(lambda e: jvp(slope, (z,), (e.expand_as(z),))[1])(unit).permute(1, 0, 2)


def output_root(task: Task, batch: Batch, z: Tensor, v: Tensor) -> Tensor:
    """R v, (B, C), for some root R of the second derivative H of the loss in the outputs.

    R R^T = H, so that R v has covariance H where v has covariance 1. Of the cross-entropy R needs C
    numbers a row. Of any other loss it is by the eigenvectors of H, C^2 numbers a row, of which
    NUMBERS are held at a time; what is not convex in it is left out.

    Args:
        task: whose loss it is.
        batch: of B rows.
        z: their outputs, (B, C).
        v: (B, C).
    """
    # a subclass with a loss of its own is served as any other task
    if getattr(task.loss, "__func__", None) is Classification.loss:
        return _cross_entropy_root(z, v)
    size = max(1, NUMBERS // z.shape[-1] ** 2)
    parts = []
    for start in range(0, len(z), size):
        cut = slice(start, start + size)
        own = tree_map(lambda t, cut=cut: t[cut], batch)
        values, vectors = torch.linalg.eigh(output_curvature(task, own, z[cut]))
        parts.append(vectors @ (values.clamp_min(0).sqrt() * v[cut])[..., None])
    return torch.cat(parts).squeeze(-1)


def _cross_entropy_root(z: Tensor, v: Tensor) -> Tensor:
    """With w = sqrt(p), a unit vector, H = diag(p) - p p^T is diag(w) (1 - w w^T) diag(w).

    A mirror that takes the first axis to -w takes the others to a basis of what is orthogonal to w,
    so R is diag(w) times this mirror without its first column. Random signs scatter less than with
    the root diag(w) - p w^T, which is a column more: of two classes not at all.
    """
    w = z.softmax(-1).sqrt()
    others = v.clone()
    others[:, 0] = 0.0
    along = (w * others).sum(-1, keepdim=True) / (1.0 + w[:, :1])
    mirrored = others - along * w
    mirrored[:, :1] -= along
    return w * mirrored


def conjugate_gradients(
    product: Callable[[Weights], Weights],
    goal: Weights,
    iterations: int,
    tolerance: float = 1e-12,
    precondition: Callable[[Weights], Weights] = dict,
) -> Weights:
    """X with product(x) = goal, for a symmetric positive semi-definite product.

    Always calls `product` so many times, so that the cost is known; once the residual is below
    `tolerance` of the goal's norm, x stays.

    Args:
        product: the matrix times a vector.
        goal: right-hand side.
        iterations: calls.
        tolerance: relative residual at which x is good enough.
        precondition: an approximate inverse of the matrix, symmetric and positive, whose norm
            measures the residual.
    """
    x = {name: torch.zeros_like(b) for name, b in goal.items()}
    residual = {name: b.clone() for name, b in goal.items()}
    direction = {name: b.clone() for name, b in precondition(residual).items()}
    size = first = dot(residual, direction)
    for _ in range(iterations):
        image = product(direction)
        curvature = dot(direction, image)
        if size <= tolerance**2 * first or curvature <= 0:
            continue
        step = size / curvature
        for name in x:
            x[name] += step * direction[name]
            residual[name] -= step * image[name]
        steepest = precondition(residual)
        size, before = dot(residual, steepest), size
        for name in x:
            direction[name] = steepest[name] + (size / before) * direction[name]
    return x


def dot(a: Weights, b: Weights) -> float:
    """The inner product, summed in float64."""
    return sum(float((a[name].double() * b[name].double()).sum()) for name in a)
