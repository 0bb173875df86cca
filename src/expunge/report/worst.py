"""Which forgotten rows a method left furthest from the retrained models."""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.audit.evidence import Evidence
from expunge.audit.klom import klom
from expunge.audit.margin import margins
from expunge.errors import BadInput


@dataclass(frozen=True)
class Margins:
    """Margins of the forgotten rows, by who computed them: (members, rows), float64."""

    before: Tensor
    after: Tensor
    oracle: Tensor


def forget_margins(evidence: Evidence, method: str) -> Margins:
    """Margins of the forgotten rows before and after `method`, and of the oracles.

    Raises:
        BadInput: the evidence does not hold the method.
    """
    if method not in evidence.unlearned:
        raise BadInput(
            f"no evidence on the method {method!r}",
            expected=f"one of {', '.join(evidence.unlearned) or 'none'}",
            cure="audit the method, or name another",
        )
    found = [
        margins(values["forget"], evidence.targets["forget"], evidence.kind)
        for values in (evidence.original, evidence.unlearned[method], evidence.oracle)
    ]
    return Margins(*found)


def row_scores(found: Margins, metric: str, models: int | None = None) -> Tensor:
    """How far each row is from the oracles, larger is further.

    Args:
        found: margins of the same rows.
        metric: "klom" for the divergence in nats, or "distance" for |mean after - mean of
            oracles| in standard deviations of the oracles.
        models: how many models on each side KLoM compares, as the audit did; None for all.

    Returns:
        (rows,), float64.
    """
    if metric == "klom":
        return klom(found.after[:models], found.oracle[:models])
    spread = found.oracle.std(0, correction=1 if len(found.oracle) > 1 else 0)
    away = (found.after.mean(0) - found.oracle.mean(0)).abs()
    # A row on which all oracles agree to the last bit is no reason to divide by zero.
    return away / spread.clamp(min=torch.finfo(torch.float32).eps)
