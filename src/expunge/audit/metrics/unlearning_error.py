"""Unlearning error: a cheap proxy, before anything is forgotten, for how well it can be.

Source: Thudi et al. 2022, "Unrolling SGD: Understanding Factors Influencing Machine Unlearning",
arXiv 2109.13398. Unrolled, plain SGD is theta_t = theta_0 - sum_i eta_i g_i(theta_0) + what the
Hessian adds: at step i about eta_i H times the way gone so far. Single-gradient unlearning takes
back the first sum only, so its verification error grows as the rest does. With sigma the largest
singular value of the Hessian and the way gone by step i taken as its share of ||theta_t -
theta_0||, the rest is at most

    strict = sigma x ||theta_t - theta_0|| x sum_i eta_i (sum_{j<i} eta_j) / (sum_j eta_j),

which at a fixed rate is eta (t - 1) / 2 x sigma x ||theta_t - theta_0||. The paper has eta squared;
its code has t / 2 for (t - 1) / 2, and the square root of the Hessian's largest eigenvalue for
sigma. At one rate all three rise and fall together; across rates only the strict one is of the
right order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import BadInput


@dataclass(frozen=True)
class UnlearningError:
    """The three forms, and the factors that they are made of; (...) of the shape asked with.

    Attributes:
        strict: by the expansion, linear in the learning rate.
        paper: with the learning rate squared.
        code: as the published code computes it.
        distance: ||theta_t - theta_0||, L2.
        sigma: largest singular value of the Hessian of the training loss, mean over measurements.
        rate: mean learning rate of the steps.
        steps: t.
    """

    strict: Tensor
    paper: Tensor
    code: Tensor
    distance: Tensor
    sigma: Tensor
    rate: float
    steps: int


def unlearning_error(distance: Tensor, sigma: Tensor, rates: Tensor) -> UnlearningError:
    """Put the factors together.

    Args:
        distance: (...) L2 distance of the weights from where they began, at least 0.
        sigma: (...) largest singular value of the Hessian, at least 0: the largest absolute
            eigenvalue, not its root.
        rates: (t,) learning rate of each step, at least 0; t >= 1.

    Raises:
        BadInput: numbers that are negative or not finite, no step, shapes that differ.
    """
    distance, sigma, rates = (torch.as_tensor(v).double() for v in (distance, sigma, rates))
    for name, values in (("distances", distance), ("singular values", sigma), ("rates", rates)):
        if not values.isfinite().all() or (values < 0).any():
            raise BadInput(
                f"{name} that are negative or not finite",
                expected="finite numbers of at least 0",
                fix="take the absolute value of an eigenvalue; see that the training converged",
            )
    if rates.ndim != 1 or not len(rates) or distance.shape != sigma.shape:
        raise BadInput(
            f"rates of shape {tuple(rates.shape)}, distances of {tuple(distance.shape)} and "
            f"singular values of {tuple(sigma.shape)}",
            expected="a rate for each of at least one step, and as many of the other two",
            fix="measure both at the same models",
        )
    total, steps = rates.sum(), len(rates)
    before = rates.cumsum(0) - rates
    lag = (rates * before).sum() / total if total > 0 else total
    strict, rate = sigma * distance * lag, float(total / steps)
    return UnlearningError(
        strict=strict,
        paper=rate * strict,
        code=rate**2 * steps / 2 * distance * sigma.sqrt(),
        distance=distance,
        sigma=sigma,
        rate=rate,
        steps=steps,
    )
