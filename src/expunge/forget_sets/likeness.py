"""Forget sets of rows that are alike: one class, one end of a principal component, neighbours."""

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from expunge.data import walk
from expunge.errors import BadInput
from expunge.errors import nearest as nearest_name
from expunge.forget_sets.chance import require_count

ENDS = ("top", "bottom", "both")
WHOLE = 1024  # up to so many rows or columns all components are computed, else those asked for


def whole_class(targets: Tensor, label: int, candidates: Tensor) -> Tensor:
    """All candidates of one class.

    Args:
        targets: class numbers of all rows, (n,).
        label: the class to forget.
        candidates: row numbers to choose from, int64.

    Returns:
        Row numbers, int64, sorted.

    Raises:
        BadInput: no candidate is of this class.
    """
    found = candidates[targets[candidates] == label].sort().values
    if not len(found):
        present = targets[candidates].unique().tolist()
        raise BadInput(
            f"no row of class {label}",
            expected=f"one of the classes {', '.join(f'{c}' for c in present)}",
            fix="correct the label, or widen the candidates",
        )
    return found


def principal_end(
    features: Tensor,
    candidates: Tensor,
    count: int,
    *,
    component: int = 0,
    top: bool = True,
    end: str | None = None,
) -> Tensor:
    """The `count` candidates farthest along one principal component: alike, and unlike the rest.

    With pixels as features these are unusual pictures of one kind; with attribution scores, rows
    that push a model the same way (Georgiev et al. 2024, arXiv 2410.23232, forget sets 4 to 9).

    Args:
        features: (n, d) or (n, ...) numbers of all rows: pixels, or the train x train matrix of
            `attribution_matrix`.
        candidates: row numbers to choose from, int64, e.g. the rows of one class.
        count: how many rows.
        component: 0 is the direction of most variance among the candidates.
        top: the positive end; the sign is scikit-learn's, in which the largest weight is positive.
        end: "top", "bottom", or "both": half of the rows from each, of an odd number one more
            from the top. Default as `top` says.

    Returns:
        Row numbers, int64, sorted.

    Raises:
        BadInput: an unknown end; more rows or components than there are; features that are NaN
            or infinite.
    """
    require_count(count, len(candidates))
    end = end or ("top" if top else "bottom")
    if end not in ENDS:
        raise BadInput(
            f"end '{end}'{nearest_name(end, ENDS)}",
            expected=f"one of {', '.join(ENDS)}",
            fix="choose one",
        )
    values = _usable(features, candidates)
    smaller = min(values.shape)
    if not 0 <= component < smaller:
        raise BadInput(
            f"principal component {component}",
            expected=f"one from 0 to {smaller - 1}: there are {len(values)} candidates with "
            f"{values.shape[1]} features",
            fix="ask for an earlier component, or widen the candidates",
        )
    if smaller <= WHOLE:
        pca = PCA(component + 1, svd_solver="full")
        scores = pca.fit_transform(values.double().numpy())[:, component]
    else:  # Lanczos from a fixed start, in float32: 10,000 x 10,000 takes ten seconds
        pca = PCA(component + 1, svd_solver="arpack", random_state=0)
        scores = pca.fit_transform(values.float().numpy())[:, component]
    order = torch.from_numpy(scores).argsort(descending=end != "bottom", stable=True)
    if end == "both":  # both ends of one order, so that ties cannot put a row in twice
        chosen = torch.cat([order[: count - count // 2], order[len(order) - count // 2 :]])
    else:
        chosen = order[:count]
    return candidates[chosen].sort().values


def nearest(features: Tensor, row: int, count: int, candidates: Tensor) -> Tensor:
    """A row and those most like it: `count` candidates of least Euclidean distance from `row`.

    Args:
        features: (n, d) or (n, ...) numbers of all rows.
        row: the row in the middle, itself a candidate; it is always in the set.
        count: how many rows, `row` included.
        candidates: row numbers to choose from, int64.

    Returns:
        Row numbers, int64, sorted. Of rows at the same distance those of lower number come first.

    Raises:
        BadInput: `row` is no candidate; more rows than there are; features that are NaN or
            infinite.
    """
    require_count(count, len(candidates))
    candidates = candidates.sort().values
    if not (candidates == row).any():
        raise BadInput(
            f"row {row} is not among the {len(candidates)} candidates",
            expected="a row that can be forgotten itself",
            fix="correct the row's number, or widen the candidates",
        )
    centre = _usable(features, torch.tensor([row])).double()
    # differences, not the usual product of norms: the order must not hang on rounding
    squares = [
        (_usable(features, part).double() - centre).square().sum(1) for part in walk(candidates)
    ]
    distances = torch.cat(squares)
    distances[candidates == row] = -1.0  # before an exact copy of lower number
    return candidates[distances.argsort(stable=True)[:count]].sort().values


def _usable(features: Tensor, rows: Tensor) -> Tensor:
    """The features of these rows, (rows, d), all finite."""
    values = features[rows].flatten(1)
    bad = ~values.isfinite().all(1)
    if bad.any():
        raise BadInput(
            f"the features of row {rows[bad][0].item()} hold NaN or infinity "
            f"({int(bad.sum())} such)",
            expected="finite numbers for every candidate",
            fix="repair the features, or leave these rows out",
        )
    return values
