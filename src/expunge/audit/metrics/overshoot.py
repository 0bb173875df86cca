"""Over-forgetting: models that are less sure of the forgotten rows than retrained models are."""

import torch

from expunge.audit.evidence.chunks import Array, by_members
from expunge.audit.metrics.resample import jackknife


def overshoot(unlearned: Array, original: Array, oracle: Array, kind: str) -> bool:
    """Whether unlearned models moved past the oracles, to the side away from the original.

    Compared is the mean over models and forgotten rows of the margin; in a regression, where the
    margin is a signed error that cancels between rows, of minus its absolute value. Past means by
    more than two standard errors of the difference between unlearned models and oracles. A single
    unlearned model shows no spread of its own, so that of the oracles stands in for it; else
    chance alone would often be called over-forgetting.

    Args:
        unlearned: (M, rows) margins on the forgotten rows.
        original: (K, rows) margins.
        oracle: (N, rows) margins, N >= 2.
        kind: "classification" or "regression".

    Returns:
        True if they moved past.
    """
    ours, before, wanted = (
        by_members(
            lambda m: (-m.double().abs() if kind == "regression" else m.double()).mean(-1), table
        )
        for table in (unlearned, original, oracle)
    )
    away = torch.sign(wanted.mean() - before.mean())
    past = away * (ours.mean() - wanted.mean())
    error = jackknife(lambda u, o: u.mean() - o.mean(), ours, wanted)
    if len(ours) == 1:
        error = (error.square() + wanted.var()).sqrt()
    return bool(past > 2 * error)
