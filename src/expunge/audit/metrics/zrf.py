"""ZRF: how far answers resemble those of a model that never learnt anything.

ZRF = 1 - mean over rows of JS(softmax of the model, softmax of a randomly initialised model), with
JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2 and m = (p + q) / 2, in bits, so that it lies in [0, 1].
Source: Chundawat et al. 2023, Can Bad Teaching Induce Forgetting?, arXiv 2205.08096.
Differs from its public code, unless asked for `convention="paper"`: there the arguments of the
divergence are turned around (KL(m || p), which has no bound), logarithms are natural, and the
mean runs over classes as well as rows: the divergence is divided by C, and all is close to 1.
What it does not say: answering at random is no goal. A retrained model classifies many forgotten
rows rightly and scores well below 1, so the value to reach is that of oracles against the same
random model; values against different random models cannot be compared.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.metrics.metric import (
    CLASSES,
    LOGITS,
    UNTRAINED,
    Metric,
    Score,
    by_model,
    of_oracles,
)
from expunge.errors import BadInput


def zrf(outputs: Tensor, random_outputs: Tensor, convention: str = "expunge") -> Tensor:
    """1 - mean Jensen-Shannon divergence from a random model; compare it with that of oracles.

    Args:
        outputs: (members, rows, C) logits or log-probabilities on the forgotten rows.
        random_outputs: (1, rows, C) of one randomly initialised model, or (members, rows, C).
        convention: "expunge", or "paper" for comparison with numbers of the public code.

    Returns:
        (members,) float64, from 0 (nothing in common) to 1 (the same answers); "paper" values have
        no lower bound.

    Raises:
        BadInput: wrong shapes, no rows, outputs that are not finite, or an unknown convention.
    """
    if convention not in ("expunge", "paper"):
        raise BadInput(
            f"convention {convention!r}", expected='"expunge" or "paper"', fix="name one of them"
        )
    if outputs.ndim == 3 and not outputs.shape[1]:
        raise BadInput(
            "no rows", expected="at least one row", fix="give outputs on the forgotten rows"
        )
    one = _jensen_shannon if convention == "expunge" else _public_code
    return 1 - _each(one, outputs, random_outputs).mean(-1)


def js(outputs: Tensor, random_outputs: Tensor) -> Tensor:
    """Jensen-Shannon divergence of every row, in bits.

    Args:
        outputs: (members, rows, C) logits or log-probabilities.
        random_outputs: (1, rows, C) or (members, rows, C).

    Returns:
        (members, rows) divergences from 0 to 1, float64.

    Raises:
        BadInput: wrong shapes, or outputs that are not finite.
    """
    return _each(_jensen_shannon, outputs, random_outputs)


def _jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    twice = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    # rounding may leave the interval by a few units of the last place
    return (twice.sum(-1) / (2 * math.log(2))).clamp(0, 1)


def _public_code(log_p: Tensor, log_q: Tensor) -> Tensor:
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (log_m.exp() * (log_m - (log_p + log_q) / 2)).mean(-1)


def _each(
    one: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, random_outputs: Tensor
) -> Tensor:
    _check(outputs, random_outputs)
    # one member at a time: float64 copies of all outputs at once would need several times the room
    pairs = zip(outputs, random_outputs.expand(outputs.shape), strict=True)
    return torch.stack([one(*(z.double().log_softmax(-1) for z in pair)) for pair in pairs])


def _check(outputs: Tensor, random_outputs: Tensor) -> None:
    shapes = [tuple(x.shape) for x in (outputs, random_outputs)]
    if (
        any(len(shape) != 3 for shape in shapes)
        or not shapes[0][0]
        or shapes[1][0] not in (1, shapes[0][0])
        or shapes[0][1:] != shapes[1][1:]
        or shapes[0][2] < 2
    ):
        raise BadInput(
            f"outputs of shapes {shapes[0]} and {shapes[1]}",
            expected="(members, rows, C) and (1, rows, C) or (members, rows, C), C >= 2",
            fix="ask one random model about the same rows, and keep an axis of length 1 for it",
        )
    for name, values in (("outputs", outputs), ("random outputs", random_outputs)):
        if values.numel() and not torch.stack(values.aminmax()).isfinite().all():
            raise BadInput(
                f"{int((~values.isfinite()).sum())} {name} are NaN or infinite",
                expected="finite numbers",
                fix="look for a model whose training diverged, and train it again",
            )


def _measure(file: Outputs, evidence: Evidence) -> Score:
    assert evidence.untrained is not None
    blank = evidence.untrained[:]
    return by_model(lambda k: 100 * float(zrf(file["forget"][k : k + 1], blank)), file)


METRIC = Metric(
    name="ZRF",
    unit="%",
    direction="nearer",
    needs=(CLASSES, LOGITS, UNTRAINED),
    measure=_measure,
    null=of_oracles(_measure),
    definition="likeness to an untrained model on forgotten rows",
)
