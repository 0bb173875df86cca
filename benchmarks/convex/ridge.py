"""Ridge regression with rows to forget: three designs, optima, and two ways to leave rows out.

The objective is a sum over rows, |X theta - y|^2 / 2 + l2/2 |theta|^2, so l2 does not change when
rows leave. With H = X_R^T X_R + l2 I the optimum on R solves H theta_* = X_R^T y_R, and the one on
S solves (H + X_F^T X_F) theta_full = X_R^T y_R + X_F^T y_F. Subtracting gives, exactly,

    theta_* = theta_full + H^-1 X_F^T (X_F theta_full - y_F).

First-order influence is the same line with the Hessian of all rows, H + X_F^T X_F, in place of H:
the only one that is known before F is. In a direction where F has leverage h it is short by h.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.rng import Draws

N, D, FORGET = 400, 20, 5
L2, NOISE = 1.0, 1.0
OWN = 3.0  # a forgotten row in its own feature, where there are rare ones


@dataclass(frozen=True)
class Ridge:
    """The same problem for several seeds at once."""

    x: Tensor  # (seeds, n, d), float64
    y: Tensor  # (seeds, n)
    forget: Tensor  # (n,) bool, the same rows for every seed
    l2: float = L2

    @property
    def retain(self) -> Tensor:
        """The rows that stay, (n,) bool."""
        return ~self.forget

    @property
    def everything(self) -> Tensor:
        """All rows, (n,) bool."""
        return torch.ones_like(self.forget)

    def few(self, times: int) -> Tensor:
        """The forgotten rows and `times` as many retained ones; rows are exchangeable."""
        kept = self.retain & (self.retain.cumsum(0) <= times * int(self.forget.sum()))
        return self.forget | kept

    def gram(self, rows: Tensor) -> Tensor:
        """X^T X of these rows, (seeds, d, d)."""
        x = self.x[:, rows]
        return x.mT @ x

    def pull(self, rows: Tensor) -> Tensor:
        """X^T y of these rows, (seeds, d)."""
        return torch.einsum("snd,sn->sd", self.x[:, rows], self.y[:, rows])

    def hessian(self, rows: Tensor) -> Tensor:
        """Of the objective on these rows, (seeds, d, d)."""
        return self.gram(rows) + self.l2 * torch.eye(self.x.shape[2], dtype=self.x.dtype)

    def optimum(self, rows: Tensor) -> Tensor:
        """Of the objective on these rows, (seeds, d)."""
        return torch.linalg.solve(self.hessian(rows), self.pull(rows))


def leave_set_out(ridge: Ridge, full: Tensor) -> Tensor:
    """The optimum on R from the one on S, exactly; (seeds, d)."""
    return full + torch.linalg.solve(ridge.hessian(ridge.retain), _gradient(ridge, full))


def influence(ridge: Ridge, full: Tensor) -> Tensor:
    """The same to first order: one Newton step with the Hessian of all rows; (seeds, d)."""
    return full + torch.linalg.solve(ridge.hessian(ridge.everything), _gradient(ridge, full))


def leverage(ridge: Ridge) -> Tensor:
    """Leverages of F as a set, ascending: what influence misses by direction; (seeds, forget)."""
    x = ridge.x[:, ridge.forget]
    return torch.linalg.eigvalsh(x @ torch.linalg.solve(ridge.hessian(ridge.everything), x.mT))


def isotropic(seeds: int, size: float = 1.0, l2: float = L2) -> Ridge:
    """Standard normal rows; the forgotten ones `size` times as long."""
    x, forget = _normal(seeds)
    x[:, forget] *= size
    return _labelled(x, forget, l2)


def rare(seeds: int, scale: float = 0.03, l2: float = L2, *, alone: bool = False) -> Ridge:
    """Each forgotten row has its own feature, where retained rows are `scale` times normal.

    The other features are standard normal; `alone`: in forgotten rows only `scale` times that.
    """
    x, forget = _normal(seeds)
    x[:, :, -FORGET:] *= scale
    if alone:
        x[:, forget] *= scale
    x[:, forget, -FORGET:] = OWN * torch.eye(FORGET, dtype=x.dtype)
    return _labelled(x, forget, l2)


def _normal(seeds: int) -> tuple[Tensor, Tensor]:
    x = Draws(("convex", "x")).of(range(seeds)).normal((N, D)).to(torch.float64)
    return x, torch.arange(N) < FORGET


def _labelled(x: Tensor, forget: Tensor, l2: float) -> Ridge:
    """The truth and the noise are standard normal, so every design has them in common."""
    draws = Draws(("convex", "y")).of(range(len(x)))
    truth, noise = (
        draws.at(what).normal((count,)).to(x.dtype) for what, count in (("truth", D), ("noise", N))
    )
    return Ridge(x, torch.einsum("snd,sd->sn", x, truth) + NOISE * noise, forget, l2)


def _gradient(ridge: Ridge, theta: Tensor) -> Tensor:
    """Of the forgotten rows' loss, X_F^T (X_F theta - y_F)."""
    x, y = ridge.x[:, ridge.forget], ridge.y[:, ridge.forget]
    return torch.einsum("sfd,sf->sd", x, torch.einsum("sfd,sd->sf", x, theta) - y)
