"""Products of the Hessian with a vector, and its eigenvalue of largest size.

The Hessian is that of the mean over rows of a score, the loss unless another is given, plus l2 on
the diagonal. Unlike the Gauss-Newton matrix (`products`) it may have eigenvalues below zero. Its
largest in size enters the unlearning error of Thudi et al. 2022, "Unrolling SGD", arXiv 2109.13398;
their code takes it of one batch, here it is of as many rows as are given. Cost of a product: 9
units a row, a gradient (3) and a backward pass through all of it.
"""

import torch
from torch import Tensor

from expunge.curvature.lanczos import Spectrum, largest
from expunge.curvature.point import SIZE, Point, Score, Weights, unflattened
from expunge.data import Batch
from expunge.engine.kernels import stepwise_attention, stepwise_recurrence
from expunge.errors import BadInput
from expunge.rng import Draws


def hessian_product(
    point: Point,
    rows: Tensor,
    vector: Weights,
    *,
    score: Score | None = None,
    l2: float = 0.0,
    size: int = SIZE,
) -> Weights:
    """The Hessian of the mean score of these rows, times a vector shaped as the weights.

    By two backward passes of plain autograd, which recurrent, embedding and attention layers bear.

    Args:
        point: where; in evaluation mode meanwhile.
        rows: row numbers, at least one.
        vector: by parameter name, as `point.weights`.
        score: of outputs (B, C) and their batch, (B,); default the task's loss.
        l2: added to the diagonal.
        size: rows a batch, which decides memory and nothing else.

    Raises:
        BadInput: no rows, no trainable weights, or a vector of other names or shapes.
    """
    _check(point, rows, vector)
    total = {name: torch.zeros_like(w) for name, w in point.weights.items()}
    for batch in point.batches(rows, size):
        for name, part in _of_batch(point, batch, vector, score).items():
            total[name] += part
    return {name: value / len(rows) + l2 * vector[name] for name, value in total.items()}


def top_eigenvalue(
    point: Point,
    rows: Tensor,
    *,
    draws: Draws,
    score: Score | None = None,
    l2: float = 0.0,
    tolerance: float = 1e-3,
    most: int = 200,
) -> Spectrum:
    """The eigenvalue of largest size, above or below zero, of the Hessian of the mean score.

    Ten vectors of float64 are held on the CPU; products are taken in the model's dtype on its
    device, so that a float32 model bears tolerances down to about 1e-6.

    Args:
        point: where.
        rows: row numbers, at least one.
        draws: of the vector that is begun with.
        score: as in `hessian_product`.
        l2: as in `hessian_product`.
        tolerance: largest residual relative to the eigenvalue's size.
        most: products; where these do not suffice, the best is returned, and that it is not within
            the tolerance.

    Raises:
        BadInput: no rows, no trainable weights, second derivatives that are not finite, a tolerance
            outside (0, 1), or no products at all.
    """
    _check(point, rows, point.weights)

    def product(vector: Tensor) -> Tensor:
        given = unflattened(vector, point.weights)
        image = hessian_product(point, rows, given, score=score, l2=l2)
        return torch.cat([part.flatten().double().cpu() for part in image.values()])

    start = draws.of(None).at("start").normal((point.size,)).double()
    return largest(product, start, tolerance, most)


def _of_batch(point: Point, batch: Batch, vector: Weights, score: Score | None) -> Weights:
    """The product of the Hessian of the SUM of a batch's scores."""
    scored = point.task.loss if score is None else score
    leaves = {name: w.clone().requires_grad_() for name, w in point.weights.items()}
    free = list(leaves.values())
    with torch.enable_grad(), stepwise_attention(), stepwise_recurrence(point.module):
        total = scored(point.task.outputs(point.at(leaves), batch), batch).sum()
        if not total.requires_grad:  # a score that is constant
            return {name: torch.zeros_like(w) for name, w in leaves.items()}
        slope = torch.autograd.grad(total, free, create_graph=True, materialize_grads=True)
        along = sum(
            ((g * vector[name]).sum() for name, g in zip(leaves, slope, strict=True)),
            start=total.new_zeros(()),
        )
        if not along.requires_grad:  # one that is linear in the weights
            return {name: torch.zeros_like(w) for name, w in leaves.items()}
        found = torch.autograd.grad(along, free, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _check(point: Point, rows: Tensor, vector: Weights) -> None:
    if not len(rows) or not point.size:
        raise BadInput(
            f"the Hessian over {len(rows)} rows in {point.size} weights",
            expected="at least one row and one trainable weight",
            fix="name rows that are there, and let a parameter require its gradient",
        )
    shapes = [{name: tuple(w.shape) for name, w in x.items()} for x in (vector, point.weights)]
    if shapes[0] != shapes[1]:
        raise BadInput(
            f"a vector of shapes {shapes[0]}",
            expected=f"one shaped as the trainable weights, {shapes[1]}",
            fix="start from `point.weights`",
        )
