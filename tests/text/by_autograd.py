"""Derivatives by nothing but backward passes of single rows, and what is compared with them."""

from collections.abc import Callable

import torch
from torch import Tensor

from expunge.contract.problems import generator
from expunge.curvature.point import Point
from expunge.curvature.products import gauss_newton_product


def like(here: Point, seed: int) -> dict[str, Tensor]:
    g = generator(seed)
    return {
        name: torch.randn(w.shape, generator=g, dtype=torch.float64).to(w)
        for name, w in here.weights.items()
    }


def by_autograd(here: Point, row: int, pick: Callable) -> dict[str, Tensor]:
    """The gradient of a number of one row's outputs, by nothing but a backward pass."""
    here.module.eval()
    (batch,) = here.data.batches([torch.tensor([row])])
    score = pick(here.task.outputs(here.module, batch), batch)
    found = torch.autograd.grad(score, [*here.module.parameters()], materialize_grads=True)
    return dict(zip(here.weights, found, strict=True))


def require_row_gradients(here: Point, rows: Tensor) -> None:
    """Fail unless the gradients of some rows' losses are those of autograd."""
    found = list(here.row_gradients(rows))
    for k, row in enumerate(rows.tolist()):
        expected = by_autograd(here, row, lambda z, b: here.task.loss(z, b).sum())
        for name, g in expected.items():
            got = torch.cat([part[name] for part in found])[k]
            torch.testing.assert_close(got, g, rtol=0, atol=1e-12)


def require_product(here: Point, rows: Tensor) -> None:
    """Fail unless the product is the mean over rows of J^T (diag p - p p^T) J v.

    J is taken an output at a time; float32 to its digits.
    """
    v, found = like(here, 1), {name: torch.zeros_like(w) for name, w in here.weights.items()}
    for row in rows.tolist():
        (batch,) = here.data.batches([torch.tensor([row])])
        p = here.task.outputs(here.module.eval(), batch).detach().softmax(-1)[0]
        jacobian = [by_autograd(here, row, lambda z, b, c=c: z[0, c]) for c in range(len(p))]
        tangents = torch.stack([sum((j[n] * v[n]).sum() for n in v) for j in jacobian])
        bent = p * tangents - p * (p @ tangents)
        for name in found:
            pulled = [j[name] * b for j, b in zip(jacobian, bent, strict=True)]
            found[name] += torch.stack(pulled).sum(0) / len(rows)
    product = gauss_newton_product(here, rows, v)
    size = max(float(g.abs().max()) for g in found.values())
    digits = 1e-12 if product[name].dtype == torch.float64 else 1e-5
    for name, g in found.items():
        torch.testing.assert_close(product[name], g, rtol=0, atol=digits * max(1.0, size))
