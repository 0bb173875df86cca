"""Signals: one number a row that a membership attack may read from a model's answers.

Confidence is p_y = sigmoid(margin), loss is -log p_y = softplus(-margin) (see `margin`), entropy is
-sum_c p_c log p_c. Modified entropy is -(1 - p_y) log p_y - sum_{c != y} p_c log(1 - p_c): unlike
entropy it tells a sure and right answer (near 0) from a sure and wrong one (large).
Source of modified entropy: Song and Mittal 2021, Systematic Evaluation of Privacy Risks of Machine
Learning Models, arXiv 2003.10595. Differs from public code, which floors probabilities at 1e-30
(and in one widely used copy takes log p for log(1 - p)): here all comes from logits, so that a row
whose probabilities round to 0 or 1 keeps its place among the others.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.evidence.margin import classification_margin
from expunge.errors import BadInput


def confidence(outputs: Tensor, targets: Tensor) -> Tensor:
    """Probability of the true class; higher for rows a model was trained on.

    Args:
        outputs: (members, rows, C) logits or log-probabilities, C >= 2.
        targets: (rows,) class numbers.

    Returns:
        (members, rows) probabilities, float64.

    Raises:
        BadInput: wrong shapes or class numbers, or outputs that are not finite.
    """
    return _each(lambda z: classification_margin(z, targets).sigmoid(), outputs, targets)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the true class; lower for rows a model was trained on.

    Args:
        outputs: (members, rows, C) logits or log-probabilities, C >= 2.
        targets: (rows,) class numbers.

    Returns:
        (members, rows) losses in nats, float64.

    Raises:
        BadInput: as `confidence`.
    """
    return _each(lambda z: softplus(-classification_margin(z, targets)), outputs, targets)


def entropy(outputs: Tensor) -> Tensor:
    """Entropy of the answer, which needs no target; lower for rows a model was trained on.

    Args:
        outputs: (members, rows, C) logits or log-probabilities, C >= 2.

    Returns:
        (members, rows) entropies in nats, from 0 to log C, float64.

    Raises:
        BadInput: a wrong shape, or outputs that are not finite.
    """

    def one(z: Tensor) -> Tensor:
        log_p, _ = _logarithms(z)
        return -(log_p.exp() * log_p).sum(-1)

    return _each(one, outputs)


def modified_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Entropy that counts a sure but wrong answer as large; lower for rows trained on.

    Args:
        outputs: (members, rows, C) logits or log-probabilities, C >= 2.
        targets: (rows,) class numbers.

    Returns:
        (members, rows) modified entropies in nats, at least 0, float64; finite for finite logits.

    Raises:
        BadInput: as `confidence`.
    """

    def one(z: Tensor) -> Tensor:
        margin = classification_margin(z, targets)
        truth = torch.sigmoid(-margin) * softplus(-margin)  # -(1 - p_y) log p_y
        log_p, log_rest = _logarithms(z)
        others = (log_p.exp() * log_rest).scatter(-1, targets.long().unsqueeze(-1), 0.0)
        return truth - others.sum(-1)

    return _each(one, outputs, targets)


def of_model(name: str, file: Outputs, evidence: Evidence, group: str, k: int) -> Tensor:
    """One signal of one model on the rows of a group, (rows,) float64.

    Args:
        name: of a function of this file; "confidence" and "loss" need margins alone.
        file: whose model it is.
        evidence: that the file is of.
        group: of rows.
        k: the model's place in the file.
    """
    if name in ("confidence", "loss"):
        margin = evidence.margins(file, group)[k : k + 1][0]
        return margin.sigmoid() if name == "confidence" else softplus(-margin)
    outputs = file[group][k : k + 1]
    if name == "entropy":
        return entropy(outputs)[0]
    return modified_entropy(outputs, evidence.targets[group])[0]


def _logarithms(z: Tensor) -> tuple[Tensor, Tensor]:
    """Give log p_c and log(1 - p_c) of every class: (rows, C) logits -> (rows, C) twice."""
    # log p and 1 - p lose their digits where p is near 1, which only the largest can be: it is
    # told by its margin; all of the rest are at most one half
    top = z.argmax(-1, keepdim=True)
    margin = classification_margin(z, top.squeeze(-1)).unsqueeze(-1)
    log_p = z.log_softmax(-1)
    small = log_p.scatter(-1, top, -torch.inf).exp()
    log_rest = torch.log1p(-small).scatter(-1, top, -softplus(margin))
    return log_p.scatter(-1, top, -softplus(-margin)), log_rest


def _each(
    one: Callable[[Tensor], Tensor], outputs: Tensor, targets: Tensor | None = None
) -> Tensor:
    _check(outputs, targets)
    # one member at a time: float64 copies of all outputs at once would need several times the room
    return torch.stack([one(member.double()) for member in outputs])


def _check(outputs: Tensor, targets: Tensor | None) -> None:
    shape = tuple(outputs.shape)
    if outputs.ndim != 3 or not shape[0] or shape[2] < 2:
        raise BadInput(
            f"outputs of shape {shape}",
            expected="(members, rows, C) with at least one member and two classes",
            fix="put the models first, with an axis of length 1 for a single model",
        )
    if outputs.numel() and not torch.stack(outputs.aminmax()).isfinite().all():
        raise BadInput(
            f"{int((~outputs.isfinite()).sum())} outputs are NaN or infinite",
            expected="finite numbers",
            fix="look for a model whose training diverged, and train it again",
        )
    if targets is None:
        return
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    if tuple(targets.shape) != shape[1:2] or not whole:
        raise BadInput(
            f"targets are {targets.dtype} of shape {tuple(targets.shape)}",
            expected=f"class numbers of an integer dtype, of shape ({shape[1]},)",
            fix="give the true class of each row, in the order of the outputs",
        )
    if len(targets) and (targets.min() < 0 or targets.max() >= shape[2]):
        raise BadInput(
            f"targets range from {int(targets.min())} to {int(targets.max())}",
            expected=f"class numbers from 0 to {shape[2] - 1}",
            fix="number the classes as the outputs do",
        )
