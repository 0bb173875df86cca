"""KLoM: the divergence between margins of unlearned and of retrained models, row by row.

Source: Georgiev et al. 2024, Attribute-to-Delete: Machine Unlearning via Datamodel Matching,
arXiv 2410.23232. Differs from its public code, unless asked for `convention="paper"`: 20 bins (not
19), the largest sample counts (the code drops it), margins are not clipped, and the floored oracle
mass is not renormalised. Even equal distributions score well above 0 with few models (two samples
of 100 from one normal: mean about 0.35, 95th percentile about 0.66), so a value means nothing
without the null among oracles. The largest value is log(1 / floor), 11.51 nats.
"""

from functools import partial

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, by_rows
from expunge.audit.evidence.margin import check_margins
from expunge.errors import BadInput

BINS = 20
FLOOR = 1e-5
CLIP = 100.0  # paper convention only: unlearned margins are clipped to [-CLIP, CLIP]


def klom(
    unlearned: Array,
    oracle: Array,
    *,
    bins: int = BINS,
    floor: float = FLOOR,
    convention: str = "expunge",
) -> Tensor:
    """KL(unlearned || oracle) of every row, between histograms of margins over models.

    Rows whose margins are all equal, in both groups together, score 0. Margins are turned to
    float64 some rows at a time, so they may be of any dtype, and may lie in a file.

    The paper's convention has bins - 1 intervals, leaves out every value equal to the largest of
    the row, and normalises what remains. Where that leaves a group empty the public code divides
    0 by 0; here such a group keeps all its mass in the last interval.

    Args:
        unlearned: (M, rows) margins of unlearned models.
        oracle: (N, rows) margins of models retrained without the forgotten rows.
        bins: equal bins over the joint range of a row, right edge included.
        floor: smallest oracle mass of a bin.
        convention: "expunge", or "paper" for comparison with published numbers.

    Returns:
        (rows,) divergences in nats, float64.

    Raises:
        BadInput: wrong shapes, too few bins, a floor outside (0, 1), an unknown convention, or
            a margin that is not finite.
    """
    _check(unlearned, oracle, bins, floor, convention)
    each = partial(divergences, bins=bins, floor=floor, convention=convention)
    return by_rows(each, unlearned, oracle)


def divergences(
    unlearned: Tensor,
    oracle: Tensor,
    *,
    bins: int = BINS,
    floor: float = FLOOR,
    convention: str = "expunge",
) -> Tensor:
    """`klom` of rows in memory, without its checks: for whoever asks again and again."""
    one = _public_code if convention == "paper" else _ours
    return one(unlearned.double(), oracle.double(), bins, floor)


def hidden(unlearned: Array, oracle: Array, *, bins: int = BINS) -> Tensor:
    """Rows whose KLoM cannot be trusted, because outliers stretch the joint range.

    A few unlearned models with runaway margins push all others, and all oracles, into the same
    bins; the divergence is then small whatever the others say. A row counts as hidden when its
    oracles span less than two of the bins.

    Args:
        unlearned: (M, rows) margins of unlearned models.
        oracle: (N, rows) margins of retrained models.
        bins: as in `klom`.

    Returns:
        (rows,) bool; rows whose margins are all equal are not hidden.
    """

    def stretched(p: Tensor, q: Tensor) -> Tensor:
        low, high = _range(p.double(), q.double())
        spanned = bins * (q.amax(0) - q.amin(0)).double()
        return spanned < 2 * (high - low)

    return by_rows(stretched, unlearned, oracle)


def p95(values: Tensor) -> Tensor:
    """95th percentile over all values, interpolated linearly between ranks as numpy does.

    Args:
        values: (rows,) numbers, at least one.

    Returns:
        A float64 scalar.

    Raises:
        BadInput: there are no values.
    """
    if values.numel() == 0:
        raise BadInput(
            "no values", expected="at least one row", fix="put rows into the group, or drop it"
        )
    return torch.quantile(values.double(), 0.95)


# p stands for the unlearned models and q for the oracles, margins first, then masses


def _ours(p: Tensor, q: Tensor, bins: int, floor: float) -> Tensor:
    low, high = _range(p, q)
    width = torch.where(high > low, high - low, 1.0)
    p = _mass(_bin(p, low, width, bins), bins)
    q = _mass(_bin(q, low, width, bins), bins).clamp(min=floor)
    return _divergence(p, q)


def _public_code(p: Tensor, q: Tensor, bins: int, floor: float) -> Tensor:
    p = p.clamp(-CLIP, CLIP)
    low, high = _range(p, q)
    steps = torch.arange(bins, dtype=torch.float64, device=p.device).unsqueeze(-1)
    edges = low + steps * ((high - low) / (bins - 1))
    edges[-1] = high
    p, q = (_mass_below_top(_digitize(x, edges), bins) for x in (p, q))
    q = q.clamp(min=floor)
    divergence = _divergence(p, q / q.sum(-1, keepdim=True))
    return torch.where(high > low, divergence, 0.0)


def _range(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    return torch.minimum(p.amin(0), q.amin(0)), torch.maximum(p.amax(0), q.amax(0))


def _bin(margins: Tensor, low: Tensor, width: Tensor, bins: int) -> Tensor:
    # multiplied before dividing: values on a lattice of edges then fall into their bin exactly
    return (margins - low).mul_(bins).div_(width).long().clamp_(max=bins - 1)


def _digitize(margins: Tensor, edges: Tensor) -> Tensor:
    return torch.searchsorted(edges.T.contiguous(), margins.T.contiguous(), right=True).T


def _counts(index: Tensor, bins: int) -> Tensor:
    """How many members fall into each bin: (members, rows) -> (rows, bins), float64."""
    rows = index.shape[1]
    first = torch.arange(rows, device=index.device) * bins
    counts = torch.bincount((index + first).flatten(), minlength=rows * bins)
    return counts.view(rows, bins).double()


def _mass(index: Tensor, bins: int) -> Tensor:
    return _counts(index, bins) / index.shape[0]


def _mass_below_top(index: Tensor, bins: int) -> Tensor:
    # numpy's numbering: 0 is below the range (always empty, but floored), `bins` is its maximum
    counts = _counts(index, bins + 1)
    kept, top = counts[:, :bins], counts[:, bins]
    lost_all = kept.sum(-1) == 0
    kept[:, -1] += torch.where(lost_all, top, 0.0)
    return kept / kept.sum(-1, keepdim=True)


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    smallest = torch.finfo(p.dtype).tiny  # an empty bin gives 0 * log(tiny / q) = 0
    return (p * (p.clamp(min=smallest) / q).log()).sum(-1)


def _check(unlearned: Array, oracle: Array, bins: int, floor: float, convention: str) -> None:
    if convention not in ("expunge", "paper"):
        raise BadInput(
            f"convention {convention!r}", expected='"expunge" or "paper"', fix="name one of them"
        )
    least = 2 if convention == "paper" else 1
    if bins < least or not 0 < floor < 1:
        raise BadInput(
            f"bins={bins}, floor={floor}",
            expected=f"at least {least} bin(s) and a floor between 0 and 1",
            fix=f"leave them out to get {BINS} bins and {FLOOR}",
        )
    check_margins(unlearned, oracle)
