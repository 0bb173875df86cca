"""Forget sets by influence: what models trained on a row say, less what the others say.

Source: Feldman and Zhang 2020, "What Neural Networks Memorize and Why", arXiv 2008.03703: the
memorisation of a row is its influence on itself, estimated from models that were each trained on a
random part of the data. Differs: margins instead of the probability of being right.
"""

import torch
from torch import Tensor

from expunge.data import walk
from expunge.errors import BadInput
from expunge.forget_sets.chance import require_count


def self_influence(memberships: Tensor, margins: Tensor) -> Tensor:
    """How much of each row's own margin is due to training on it.

    Args:
        memberships: bool, (models, rows), True where the model was trained on the row.
        margins: (models, rows), of the same models and rows.

    Returns:
        (rows,) float32, in the unit of the margins: mean margin of the models trained on the row
        less that of the others. NaN for a row that all or none of the models were trained on.

    Raises:
        BadInput: arrays that do not belong together.
    """
    _require_pair(memberships, margins)
    if memberships.shape != margins.shape:
        raise BadInput(
            f"memberships of shape {tuple(memberships.shape)} and margins of "
            f"{tuple(margins.shape)}",
            expected="the same rows in both",
            fix="pass the margins of the train rows, all of them and in their order",
        )
    # the mean over all models is taken off first: float32 keeps more of what is left
    centred = _centred(margins)
    inside = (centred * memberships).sum(0)
    return inside * _per_model(memberships)


def attribution_matrix(memberships: Tensor, margins: Tensor) -> Tensor:
    """The effect of training on row i on the margin of row j, for all i and j.

    Args:
        memberships: bool, (models, rows i), True where the model was trained on the row.
        margins: (models, rows j), of the same models; other rows than i are allowed.

    Returns:
        (rows i, rows j) float32: mean margin of j over the models trained on i less that over
        the others. NaN for a row i that all or none of the models were trained on. One product
        of matrices: for 1,000 models and 10,000 x 10,000 rows some seconds and 500 MB.

    Raises:
        BadInput: arrays that do not belong together.
    """
    _require_pair(memberships, margins)
    centred = _centred(margins)
    scale = _per_model(memberships)
    effects = torch.empty(memberships.shape[1], margins.shape[1])
    for rows in walk(torch.arange(len(effects))):
        part = effects[rows[0] : rows[-1] + 1]  # a view: written in place
        torch.mm(memberships[:, rows].T.to(torch.float32), centred, out=part)
        part.mul_(scale[rows, None])
    return effects


def most_memorised(scores: Tensor, count: int, candidates: Tensor) -> Tensor:
    """The `count` candidates of highest score, e.g. of `self_influence`.

    Args:
        scores: (n,) numbers of all rows.
        count: how many rows.
        candidates: row numbers to choose from, int64.

    Returns:
        Row numbers, int64, sorted. Of rows with the same score those of lower number come first.

    Raises:
        BadInput: more rows than there are; a candidate without a score.
    """
    require_count(count, len(candidates))
    candidates = candidates.sort().values
    own = scores[candidates]
    if own.isnan().any():
        raise BadInput(
            f"row {candidates[own.isnan()][0].item()} has no score "
            f"({int(own.isnan().sum())} such): all or none of the models were trained on it",
            expected="models with and without each candidate",
            fix="train more half-data models, or leave these rows out",
        )
    return candidates[own.argsort(descending=True, stable=True)[:count]].sort().values


def _per_model(memberships: Tensor) -> Tensor:
    """1/N + 1/(M - N) of each row, (rows,), for N of M models trained on it; NaN for 0 and M.

    Sums of centred margins over N models and over the other M - N cancel, so that this factor
    makes the first sum the difference of the two means.
    """
    inside = memberships.sum(0).double()
    outside = len(memberships) - inside
    factor = 1 / inside + 1 / outside
    return torch.where(factor.isinf(), torch.nan, factor).float()


def _centred(margins: Tensor) -> Tensor:
    return (margins - margins.mean(0, dtype=torch.float64)).float()


def _require_pair(memberships: Tensor, margins: Tensor) -> None:
    if memberships.dtype != torch.bool or memberships.ndim != 2:
        raise BadInput(
            f"memberships of {memberships.dtype}, shape {tuple(memberships.shape)}",
            expected="bool, (models, rows)",
            fix="mark the rows that each model was trained on with True",
        )
    if margins.ndim != 2 or len(margins) != len(memberships) or not margins.is_floating_point():
        raise BadInput(
            f"margins of {margins.dtype}, shape {tuple(margins.shape)}, for memberships of "
            f"{len(memberships)} models",
            expected=f"one number a model and row, ({len(memberships)}, rows)",
            fix="pass the margins of the very same models",
        )
    if not margins.isfinite().all():
        raise BadInput(
            "margins that are NaN or infinite",
            expected="finite margins",
            fix="leave out the models that diverged",
        )
