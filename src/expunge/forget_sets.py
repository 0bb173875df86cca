"""Forget sets made from data: rows at random, and rows at one end of a principal component."""

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from expunge.errors import BadInput
from expunge.rng import Draws


def random_rows(candidates: Tensor, count: int, draws: Draws) -> Tensor:
    """`count` of these row numbers, each set equally likely; int64, sorted."""
    _require(count, len(candidates))
    return candidates[draws.permutation(len(candidates))[:count]].sort().values


def principal_end(
    features: Tensor, candidates: Tensor, count: int, *, component: int = 0, top: bool = True
) -> Tensor:
    """The `count` candidates farthest along one principal component: alike, and unlike the rest.

    Args:
        features: (n, d) or (n, ...) numbers of all rows, e.g. pixels.
        candidates: row numbers to choose from, int64, e.g. the rows of one class.
        count: how many rows.
        component: 0 is the direction of most variance among the candidates.
        top: the positive end; the sign is scikit-learn's, in which the largest weight is positive.

    Returns:
        Row numbers, int64, sorted.
    """
    _require(count, len(candidates))
    values = features[candidates].flatten(1).double().numpy()
    scores = PCA(component + 1, svd_solver="full").fit_transform(values)[:, component]
    order = torch.from_numpy(scores).argsort(descending=top, stable=True)
    return candidates[order[:count]].sort().values


def _require(count: int, available: int) -> None:
    if not 0 < count <= available:
        raise BadInput(
            f"a forget set of {count} rows from {available}",
            expected=f"1 to {available} rows",
            cure="ask for fewer rows, or widen the candidates",
        )
