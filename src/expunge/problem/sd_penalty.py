"""The SD penalty: training that keeps the logits of a row together, so that it unlearns better.

Source: Thudi, Deza, Chandrasekaran and Papernot 2022, "Unrolling SGD: Understanding Factors
Influencing Machine Unlearning", arXiv 2109.13398, section on the standard deviation loss: the loss
plus gamma sqrt(sum_c (f_c - mu)^2 / C), with f the C logits of a row and mu their mean. Differs:
the published code takes the sum over rows of the unbiased standard deviation (C - 1 in the place
of C) divided by all B C numbers, which for a row is smaller by the factor sqrt(C (C - 1)): 9.5 for
ten classes. Its gammas are had by `scaling="code"`. Where all logits of a row are equal, as a head
that starts at zero gives them, the root has no derivative, and published code gives NaN; here it
is 0, a subgradient. Cost: none.
"""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from expunge.errors import BadInput, nearest

SCALINGS = ("paper", "code")


@dataclass(frozen=True)
class SDPenalty:
    """A penalty for `Recipe(penalty=SDPenalty(5.0))`, or `SDPenalty(5.0)(logits).mean()`.

    Args:
        gamma: nats for each unit of a logit, 0 or more; 0 leaves the training bit-identical. The
            published code tries up to 250, in its own scaling.
        scaling: "paper", gamma times the standard deviation, or "code"; see this module.

    Raises:
        BadInput: a gamma below zero or not finite; an unknown scaling.
    """

    gamma: float
    scaling: str = "paper"

    def __post_init__(self) -> None:
        if not isinstance(self.gamma, Real) or not 0 <= self.gamma < math.inf:
            raise BadInput(
                f"an SD penalty of gamma {self.gamma!r}",
                expected="a finite number, 0 or more",
                fix="0 trains without it; 5 of the published code is 0.53 here for ten classes",
            )
        _require_scaling(self.scaling)

    def __call__(self, outputs: Tensor, batch: Any = None) -> Tensor:
        """The penalty of each row, (B,), in the dtype of the outputs, at least float32.

        Args:
            outputs: logits, (B, C), C >= 2.
            batch: not read; a recipe gives it.

        Raises:
            BadInput: outputs that are no logits of at least two classes.
        """
        _check(outputs)
        if self.gamma == 0:
            return outputs.new_zeros(len(outputs))
        exact = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        # measured from the first logit, equal ones give zeros, whatever the rounding of a mean
        apart = exact - exact[:, :1].detach()
        variance = (apart - apart.mean(-1, keepdim=True)).square().mean(-1)
        flat = variance == 0
        # there the root is taken of 1: its derivative at 0 is infinite, and 0 times that is NaN
        sd = torch.where(flat, 0.0, torch.where(flat, 1.0, variance).sqrt())
        return self.rescaled("paper", outputs.shape[-1]).gamma * sd

    def rescaled(self, scaling: str, classes: int) -> "SDPenalty":
        """The same penalty in the other scaling: gamma_paper = gamma_code / sqrt(C (C - 1)).

        Args:
            scaling: "paper" or "code".
            classes: C, at least 2.

        Raises:
            BadInput: an unknown scaling, or fewer than two classes.
        """
        _require_scaling(scaling)
        if classes < 2:
            raise BadInput(
                f"an SD penalty for {classes} classes",
                expected="at least 2: one logit has no standard deviation",
                fix="give the number of logits a row",
            )
        factor = math.sqrt(classes * (classes - 1))
        powers = {"paper": 0, "code": 1}
        by = factor ** (powers[scaling] - powers[self.scaling])
        return SDPenalty(self.gamma * by, scaling)


def _require_scaling(scaling: str) -> None:
    if scaling not in SCALINGS:
        raise BadInput(
            f"unknown scaling {scaling!r} of the SD penalty{nearest(str(scaling), SCALINGS)}",
            expected=f"one of {', '.join(SCALINGS)}",
            fix="'paper' is gamma times the standard deviation of a row's logits",
        )


def _check(outputs: Any) -> None:
    if not isinstance(outputs, Tensor):
        raise BadInput(
            f"the SD penalty was given a {type(outputs).__name__}",
            expected="a tensor of logits, (B, C)",
            fix="pass the logits alone, e.g. model(x).logits",
        )
    if outputs.ndim != 2 or outputs.shape[-1] < 2 or not outputs.is_floating_point():
        raise BadInput(
            f"the SD penalty was given outputs of shape {tuple(outputs.shape)}, {outputs.dtype}",
            expected="logits (B, C) of at least 2 classes",
            fix="leave the penalty out for a regression; flatten what has more axes than rows "
            "and classes",
        )
