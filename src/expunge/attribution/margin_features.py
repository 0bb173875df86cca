"""One model as TRAK sees it: its margins, their projected gradients, and Newton's step on those.

The loss of a row depends on its margin m alone: log(1 + exp(-m)) for classification, where m =
log p/(1-p), and m^2 / 2 for regression. Its derivatives in the margin are the slope s and the
curvature r; phi = P^T grad m are the row's k features.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from expunge.attribution.projection import Projection
from expunge.curvature.point import Point, Weights, unflattened
from expunge.errors import BadInput
from expunge.rng import Draws

PIECE = 1024  # rows whose features are held at a time
KINDS = ("classification", "regression")


@dataclass(frozen=True)
class MarginFeatures:
    """What is kept of one model: 8 k^2 bytes, 8 for each row and 5 for each weight.

    Features of rows are not kept: they are made again for the few that are left out.
    """

    kind: str  # of the task
    weighted: bool  # whether r is the loss's curvature, or 1
    count: int  # rows trained on
    projection: Projection
    margins: Tensor = field(repr=False)  # m of all train rows, 0 where absent, (n,) float64
    gram: Tensor = field(repr=False)  # sum over rows trained on of r phi phi^T, (k, k) float64

    @classmethod
    def measure(
        cls, point: Point, rows: Tensor, *, dimension: int, weighted: bool, draws: Draws
    ) -> "MarginFeatures":
        """Read these rows twice: for their margins, and for the gradients of those.

        Args:
            point: the trained model.
            rows: those it was trained on.
            dimension: k; all weights, unprojected, where there are fewer.
            weighted: r is the curvature of the loss; otherwise 1.
            draws: of the projection.

        Raises:
            BadInput: a task whose loss depends on more than a margin; margins that are not finite.
        """
        kind = point.task.kind
        if kind not in KINDS:
            raise BadInput(
                f"TRAK for a task of kind '{kind}'",
                expected="classification or regression, whose loss depends on the margin alone",
                fix="predict with half-data models",
            )
        device = next(iter(point.weights.values())).device
        projection = Projection.draw(point.size, dimension, draws, device)
        margins = torch.zeros(len(point.data), dtype=torch.float64)
        margins[rows] = _margins(point, rows)
        k = projection.dimension
        gram = torch.zeros(k, k, dtype=torch.float64, device=device)
        found = cls(kind, weighted, len(rows), projection, margins, gram)
        for piece, phi in found.features(point, rows):
            gram += (phi.T * found.curvature(piece).to(phi)) @ phi
        return found

    @property
    def trace(self) -> float:
        """The sum of the mean matrix's eigenvalues: mean over rows of r |phi|^2."""
        return float(self.gram.trace()) / self.count

    def slope(self, rows: Tensor) -> Tensor:
        """The derivative s of the loss in the margin: p - 1 of the true class, or m itself."""
        margins = self.margins[rows]
        return margins if self.kind == "regression" else -torch.sigmoid(-margins)

    def curvature(self, rows: Tensor) -> Tensor:
        """The second derivative r: p (1 - p), or 1; always 1 if not `weighted`."""
        margins = self.margins[rows]
        if self.kind == "regression" or not self.weighted:
            return torch.ones_like(margins)
        return torch.sigmoid(margins) * torch.sigmoid(-margins)

    def features(self, point: Point, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows, some at a time, and their phi, (B, k) float64: 3 units a row."""
        for piece in rows.split(PIECE) if len(rows) else ():
            phi = [
                self.projection.down(torch.cat([g.flatten(1) for g in part.values()], dim=1))
                for part in point.row_gradients(piece, point.task.margin)
            ]
            yield piece, torch.cat(phi).double()

    def step(self, point: Point, forget: Tensor, *, damping: float, retained: bool) -> Weights:
        """P A^-1 sum of s phi over the rows left out: the change of the weights.

        Args:
            point: the same model.
            forget: rows left out.
            damping: A is the sum of r phi phi^T plus damping x rows x I.
            retained: that sum is over the rows that stay; otherwise over all.

        Raises:
            BadInput: A has no inverse.
        """
        matrix, pull = self.gram.clone(), self.gram.new_zeros(len(self.gram))
        for piece, phi in self.features(point, forget):
            pull += self.slope(piece).to(phi) @ phi
            if retained:
                matrix -= (phi.T * self.curvature(piece).to(phi)) @ phi
        count = self.count - (len(forget) if retained else 0)
        matrix.diagonal().add_(damping * count)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed or (not damping and count < len(matrix)):
            raise BadInput(
                f"{len(matrix)} features of {count} rows with damping {damping:g}: their matrix "
                "has no inverse",
                expected="damping above 0, or fewer features than rows",
                fix="leave damping out for the default, or lower the dimension",
            )
        moved = self.projection.up(torch.cholesky_solve(pull[:, None], factor).squeeze(-1))
        return unflattened(moved, point.weights)


def _margins(point: Point, rows: Tensor) -> Tensor:
    found = []
    for batch in point.batches(rows):
        with torch.no_grad():
            z = point.task.outputs(point.module, batch)
        point.task.check(z, batch)
        found.append(point.task.margin(z, batch))
    margins = torch.cat(found).double().cpu()
    if not margins.isfinite().all():
        raise BadInput(
            "a model whose margins are NaN or infinite",
            expected="finite numbers",
            fix="look for a model whose training diverged, and train it again",
        )
    return margins
