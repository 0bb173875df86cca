"""The privacy risk score: how probable a row's modified entropy makes it that it was trained on.

The score of a row is p_trained / (p_trained + p_unseen) of the bin that its signal falls into, from
the histograms of a shadow model on rows of the same class: the probability of membership where both
are as likely beforehand. 1/2 says nothing; forgotten rows shall have what retrained models give.
Source: Song and Mittal 2021, "Systematic Evaluation of Privacy Risks of Machine Learning Models",
arXiv 2003.10595, section 5. As in their code there are 5 bins over the range of both groups of a
class, equally wide in the logarithm, since modified entropies pile up near 0; smaller values count
as SMALLEST, and what lies outside the range falls into the last bin on its side. `scale="linear"`
and `bins=10` are nearer to the code of Thudi et al. 2022, arXiv 2109.13398, which feeds logits in
the place of probabilities and gives each group the bins of its own range, so that it compares bins
that are not the same. Differs from both: an empty bin says nothing, 1/2 (Song and Mittal's code
takes the nearest bin that is not empty, Thudi's gives NaN); a class of which the shadow has no
trained or no unseen rows is judged by its rows of all classes.
What it hides: with few rows a class the histograms are noise, and where the groups differ in size
that is no noise around 1/2; only the null tells. The null: retrained models judged by each other.
"""

import torch
from torch import Tensor

from expunge.audit.metrics.shadow import Shadow, shadowed
from expunge.errors import BadInput, nearest

SCALES = ("log", "linear")
SMALLEST = 1e-10  # nats; on the logarithmic scale all below are equal
ROUNDING = 1e-9  # nats below zero that a modified entropy may have


def privacy_risk(
    values: Tensor, targets: Tensor, shadow: Shadow, *, bins: int = 5, scale: str = "log"
) -> Tensor:
    """The privacy risk score of every row for every model.

    Args:
        values: (members, rows) modified entropies, nats, of the judged models.
        targets: (rows,) true classes.
        shadow: modified entropies of shadow models. A model must not be its own shadow.
        bins: of each histogram, at least 1.
        scale: "log" or "linear", in which bins are equally wide.

    Returns:
        (members, rows) scores from 0 (not trained on) to 1 (trained on), float64.

    Raises:
        BadInput: shapes that do not fit, a signal that is not finite, no bins, an unknown scale,
            or negative values on the logarithmic one.
    """
    shadow.require_fits(values, targets)
    if bins < 1 or scale not in SCALES:
        raise BadInput(
            f"{bins} bins on the scale {scale!r}{nearest(scale, SCALES)}",
            expected=f"at least one, and one of {', '.join(SCALES)}",
            fix='bins=5, scale="log" are those of Song and Mittal',
        )
    scores = torch.zeros(values.shape, dtype=torch.float64)
    for label in targets.unique().tolist():
        own = targets == label
        judged, (trained, unseen) = values[:, own].double(), shadow.of_class(label)
        if scale == "log":
            judged, trained, unseen = map(_logarithm, (judged, trained, unseen))
        scores[:, own] = _by_bins(judged, trained, unseen, bins)
    return scores


def _by_bins(values: Tensor, trained: Tensor, unseen: Tensor, bins: int) -> Tensor:
    """Scores of one class, (members, rows); a single shadow serves all members."""
    low, high = torch.cat([trained, unseen], 1).aminmax(dim=1, keepdim=True)
    width = high - low

    def place(x: Tensor) -> Tensor:
        share = torch.where(width > 0, (x - low) / width, 0.0)  # no width: one bin
        return (share * bins).clamp(0, bins - 1).floor().long()

    def histogram(x: Tensor) -> Tensor:
        counts = x.new_zeros(len(x), bins).scatter_add_(1, place(x), torch.ones_like(x))
        return counts / x.shape[1]

    p, q = (histogram(x).expand(len(values), bins) for x in (trained, unseen))
    risk = torch.where(p + q > 0, p / (p + q), 0.5)
    return risk.gather(1, place(values))


def _logarithm(values: Tensor) -> Tensor:
    if (values < -ROUNDING).any():
        raise BadInput(
            f"a signal of {float(values.min()):.3g} on the logarithmic scale",
            expected="modified entropies, which are at least 0",
            fix='use scale="linear" for signals below zero',
        )
    return values.clamp_min(SMALLEST).log()


METRIC = shadowed(
    "privacy risk",
    privacy_risk,
    "how probable the modified entropy makes it that forgotten rows were trained on",
)
