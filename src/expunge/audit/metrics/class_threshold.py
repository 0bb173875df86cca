"""The attack by a threshold of its own for each class on the modified entropy.

A row is called a member where its modified entropy is at most its class's threshold, which is
chosen on a shadow model's rows of that class for the best balanced accuracy.
Source: Song and Mittal 2021, "Systematic Evaluation of Privacy Risks of Machine Learning Models",
arXiv 2003.10595, section 4. Differs from their code: a threshold lies in the middle between two of
the shadow's values, not on one, and where no threshold is better than a coin nobody is called; a
class of which the shadow has no trained or no unseen rows takes a threshold from all its rows.
What it hides: rows that were never trained on look like members too, and many of them, so that the
share of forgotten rows called says nothing by itself. The null: retrained models judged by each
other.
"""

import torch
from torch import Tensor

from expunge.audit.metrics.attack import threshold
from expunge.audit.metrics.shadow import Shadow, shadowed


def called_members(values: Tensor, targets: Tensor, shadow: Shadow) -> Tensor:
    """Which rows the attack says each model was trained on.

    Args:
        values: (members, rows) modified entropies, nats, of the judged models; any other signal
            that is lower for members will do.
        targets: (rows,) true classes.
        shadow: the same signal of shadow models. A model must not be its own shadow.

    Returns:
        (members, rows) bool.

    Raises:
        BadInput: shapes that do not fit, or a signal that is not finite.
    """
    shadow.require_fits(values, targets)
    called = torch.zeros(values.shape, dtype=torch.bool)
    for label in targets.unique().tolist():
        own = targets == label
        trained, unseen = shadow.of_class(label)
        cuts = torch.tensor(
            [threshold(-a, -b) for a, b in zip(trained, unseen, strict=True)], dtype=torch.float64
        )
        called[:, own] = -values[:, own].double() >= cuts[:, None]
    return called


METRIC = shadowed(
    "m-entropy by class",
    called_members,
    "forgotten rows that thresholds for each class, from a retrained model, call members",
)
