"""Verification error: how far the weights of an unlearned model are from naive retraining.

Source: Thudi et al. 2022, "Unrolling SGD: Understanding Factors Influencing Machine Unlearning",
arXiv 2109.13398: v = ||w' - w''||_2, w'' the unlearned model's weights, w' those of a training from
the same initial weights, in the same order, with the forgotten rows left out of their steps. It
asks for more than the same answers: for the same weights. Differs: also for each parameter by
itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import BadInput


@dataclass(frozen=True)
class Verification:
    """Distances in weights.

    Attributes:
        whole: (members,) over all weights, float64.
        layers: by parameter name, (members,); their squares add up to that of the whole.
    """

    whole: Tensor
    layers: dict[str, Tensor]


def verification_error(
    unlearned: Mapping[str, Tensor], retrained: Mapping[str, Tensor]
) -> Verification:
    """Euclidean distances between two sets of models, member by member.

    Args:
        unlearned: by parameter name, (members, ...); batch norm's statistics are no weights.
        retrained: the same of naive retrainings.

    Raises:
        BadInput: other names or shapes, no weights, or weights that are not finite.
    """
    if unlearned.keys() != retrained.keys() or not unlearned:
        odd = sorted(unlearned.keys() ^ retrained.keys())
        raise BadInput(
            f"weights that only one side has: {', '.join(odd) or 'none at all on either'}",
            expected="the same parameters of models of one architecture",
            fix="compare models that the same `build` made",
        )
    layers = {}
    for name, value in unlearned.items():
        if value.shape != retrained[name].shape or value.ndim < 1:
            raise BadInput(
                f"'{name}' of shapes {tuple(value.shape)} and {tuple(retrained[name].shape)}",
                expected="(members, ...), the same on both sides",
                fix="compare as many models, member axis first",
            )
        apart = (value.double() - retrained[name].double()).reshape(len(value), -1)
        if not apart.isfinite().all():
            raise BadInput(
                f"'{name}' holds NaN or infinity",
                expected="finite weights",
                fix="lower the learning rate of the training that diverged",
            )
        layers[name] = apart.square().sum(1).sqrt()
    whole = torch.stack(list(layers.values())).square().sum(0).sqrt()
    return Verification(whole, layers)
