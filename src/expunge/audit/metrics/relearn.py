"""Relearn time: how many steps of training bring the loss on the forgotten rows back down.

A model that relearns much faster than a retrained one had not forgotten; the value to reach is that
of oracles, and longer is no better. Given are only the losses: on which rows and how fast the model
was trained decides the number, so only times from one protocol may be compared.
Sources: Golatkar et al. 2020, Eternal Sunshine of the Spotless Net, arXiv 1911.04933; Kurmanji et
al. 2023, SCRUB, arXiv 2302.09880. Their goal is the original model's loss on the forgotten rows, a
step is an epoch of 500 rows drawn with replacement from all of the training set.
"""

import math

import torch
from torch import Tensor

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.metrics.metric import RELEARNING, Metric, Score, of_oracles
from expunge.errors import BadInput

CAP = 100  # readings of the loss that the public code takes at most


def relearn_time(
    losses: Tensor, goal: Tensor, tolerance: float = 1e-5, convention: str = "expunge"
) -> Tensor:
    """First step after which the loss is at most the goal, for every model.

    Where it never is, the time is infinity: it is known only to be longer than the steps recorded
    (censored), so a mean over models would be no mean; compare medians, or shares that came back.

    The public code adds 1 to the number of the reading (so 1 means that nothing had to be learnt)
    and stops after 100 readings, which makes "at the last" and "never" both 100. Where fewer
    than 100 were recorded and none suffices, the published number is unknown: infinity as well.

    Args:
        losses: (members, steps + 1) losses on the forgotten rows, in nats; column 0 is the model
            before any step.
        goal: (members,) losses to be reached, in nats.
        tolerance: added to the goal, in nats.
        convention: "expunge", or "paper" for comparison with numbers of the public code.

    Returns:
        (members,) steps, float64; 0 where the goal was met from the start.

    Raises:
        BadInput: wrong shapes, a NaN, a goal that is not finite, a negative tolerance, or an
            unknown convention.
    """
    if convention not in ("expunge", "paper"):
        raise BadInput(
            f"convention {convention!r}", expected='"expunge" or "paper"', fix="name one of them"
        )
    if losses.ndim != 2 or 0 in losses.shape or tuple(goal.shape) != losses.shape[:1]:
        raise BadInput(
            f"losses of shape {tuple(losses.shape)}, goals of {tuple(goal.shape)}",
            expected="(members, steps + 1) and (members,), none empty",
            fix="record the loss before the first step and after each, one line per model",
        )
    if losses.isnan().any() or not goal.isfinite().all() or not 0 <= tolerance < math.inf:
        raise BadInput(
            f"{int(losses.isnan().sum())} losses are NaN, {int((~goal.isfinite()).sum())} goals "
            f"not finite, tolerance={tolerance}",
            expected="losses that are numbers or infinite, finite goals, a tolerance of at least 0",
            fix="relearn with a smaller learning rate, and leave the tolerance out to get 1e-5",
        )
    reached = losses.double() <= (goal.double() + tolerance).unsqueeze(-1)
    first = torch.where(reached.any(-1), reached.int().argmax(-1).double(), math.inf)
    if convention == "expunge":
        return first
    capped = (first + 1).clamp(max=CAP)
    return capped if losses.shape[1] >= CAP else capped.where(first.isfinite(), math.inf)


def _measure(file: Outputs, evidence: Evidence) -> Score:
    """The goal of a model is the loss of the original of its number, before any step."""
    curves, before = file["relearning"][:], evidence.original["relearning"][:][:, 0]
    goals = before[torch.arange(len(curves)) % len(before)]
    times = relearn_time(curves, goals).tolist()
    finite = [time if math.isfinite(time) else None for time in times]
    return {"values": finite, "cap": curves.shape[1] - 1}


METRIC = Metric(
    name="relearn",
    unit="epochs",
    direction="nearer",
    needs=(RELEARNING,),
    measure=_measure,
    null=of_oracles(_measure),
    definition="epochs of 500 rows until the forgotten rows' loss is back",
)
