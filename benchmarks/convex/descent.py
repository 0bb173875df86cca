"""Descents on ridge problems, many at once ("chains"), and how far each is from theta_*.

All steps are fixed by theory, none is tuned: 1 / largest eigenvalue of the Hessian for all rows at
once, 1 / (2 max_i L_i) for one row a step, L_i being the smoothness of row i's loss.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.rng import Draws

CHUNK = 1000  # single-row steps whose rows are drawn at once


def descend(
    hessian: Tensor,
    pull: Tensor,
    start: Tensor,
    target: Tensor,
    marks: Sequence[int],
    step: Tensor | None = None,
) -> Tensor:
    """Gradient descent on a quadratic, whose gradient is hessian theta - pull.

    Args:
        hessian: (chains, d, d).
        pull: (chains, d).
        start: theta_full, (chains, d).
        target: theta_*, (chains, d).
        marks: steps after which the error is noted, ascending.
        step: (chains,); by default 1 / largest eigenvalue.

    Returns:
        |theta - theta_*| / |theta_full - theta_*|, (marks, chains).
    """
    step = 1 / torch.linalg.eigvalsh(hessian)[:, -1] if step is None else step
    theta, noted, wanted = start, [], set(marks)
    # one product a step
    keep = torch.eye(hessian.shape[1], dtype=hessian.dtype) - step[:, None, None] * hessian
    add = step[:, None] * pull
    for t in range(1, max(marks) + 1):
        theta = torch.baddbmm(add[:, :, None], keep, theta[:, :, None])[:, :, 0]
        if t in wanted:
            noted.append(_error(theta, start, target))
    return torch.stack(noted)


def crossing(errors: Tensor, level: float) -> Tensor:
    """Steps to an error of `level`, fractional: between two steps the error is a line in log.

    Args:
        errors: after steps 1, 2, ..., (steps, chains); the error before them is 1.
        level: below 1.

    Returns:
        (chains,), infinite where the level is not reached.
    """
    log, wanted = torch.cat([torch.ones_like(errors[:1]), errors]).log(), math.log(level)
    below = log <= wanted
    step = below.to(torch.int64).argmax(0)  # the first one; 0 where there is none
    before, after = (log.gather(0, s[None])[0] for s in ((step - 1).clamp(min=0), step))
    share = (before - wanted) / (before - after)
    return torch.where(below.any(0), step - 1 + share, torch.inf)


@dataclass(frozen=True)
class Rows:
    """A mean over rows of (x_i theta - t_i)^2 / 2 + l2/2 |theta|^2, for descent row by row."""

    x: Tensor  # (chains, rows, d)
    targets: Tensor  # (chains, rows)
    l2: float  # a row, so the ridge's l2 / rows

    @property
    def step(self) -> Tensor:
        """1 / (2 max_i L_i) with L_i = |x_i|^2 + l2, (chains,)."""
        return 1 / (2 * (self.x.square().sum(2).amax(1) + self.l2))

    def descend(self, start: Tensor, target: Tensor, marks: Sequence[int], draws: Draws) -> Tensor:
        """As `descend`, a row a step, drawn with replacement; the members of `draws` are chains."""
        theta, noted, wanted = start, [], set(marks)
        chain, step, count = torch.arange(len(self.x))[:, None], self.step[:, None], self.x.shape[1]
        for begin in range(0, max(marks), CHUNK):
            picks = draws.at(begin).integers(count, (CHUNK,))
            rows = zip(
                self.x[chain, picks].unbind(1), self.targets[chain, picks].unbind(1), strict=True
            )
            for t, (row, goal) in enumerate(rows, begin + 1):
                residual = ((row * theta).sum(1) - goal)[:, None]
                theta = theta - step * (residual * row + self.l2 * theta)
                if t in wanted:
                    noted.append(_error(theta, start, target))
        return torch.stack(noted)

    def floor(self, start: Tensor, target: Tensor) -> Tensor:
        """Root mean square error after infinitely many steps, relative as above, (chains,).

        Around the optimum the error obeys e <- A_i e - s g_i with A_i = I - s (x_i x_i^T + l2 I)
        and g_i row i's gradient at the optimum, whose mean over rows is 0. So the stationary
        covariance solves M = mean_i A_i M A_i + s^2 mean_i g_i g_i^T, which is linear in M.
        """
        chains, rows, d = self.x.shape
        eye, step = torch.eye(d, dtype=self.x.dtype), self.step[:, None, None]
        a = eye - step[..., None] * (self.x[..., None] * self.x[..., None, :] + self.l2 * eye)
        flat = a.reshape(chains, rows, d * d)
        both = (flat.mT @ flat / rows).reshape(chains, d, d, d, d)  # mean of A_ab A_cd
        pairs = both.permute(0, 1, 3, 2, 4).reshape(chains, d * d, d * d)
        residual = torch.einsum("crd,cd->cr", self.x, target) - self.targets
        g = residual[..., None] * self.x + self.l2 * target[:, None]
        noise = (step**2 * (g.mT @ g) / rows).reshape(chains, d * d)
        m = torch.linalg.solve(torch.eye(d * d, dtype=a.dtype) - pairs, noise).reshape(-1, d, d)
        spread = m.diagonal(dim1=1, dim2=2).sum(1).clamp(min=0).sqrt()
        return spread / (start - target).norm(dim=1)


def _error(theta: Tensor, start: Tensor, target: Tensor) -> Tensor:
    return (theta - target).norm(dim=1) / (start - target).norm(dim=1)
