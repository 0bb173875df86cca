"""Random labels for the forgotten rows, with a soft threshold on how far weights move (SalUn-soft).

Source: Fan et al. 2024, "SalUn", arXiv 2310.12508, section 4 ("soft-thresholding"), and its
released code: after each step the difference d to the original weights becomes sign(d) max(|d| -
t, 0), with t the size of the k-th smallest difference of all weights together, k = share x (1 -
progress) x their number. Differs: the anchor stays the original; the released code takes a new
one each epoch (`moving_anchor`). See `random_label.py` for the rest. Cost: that of random-label.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from expunge.engine.ensemble import Ensemble
from expunge.methods.method import NO_INPUTS, Claim, MethodInputs, Result
from expunge.methods.random_label import RandomLabel
from expunge.problem import Problem
from expunge.registry import setting


@dataclass(frozen=True)
class SalUnSoft(RandomLabel):
    """Relabel the forgotten rows, pulling the weights that moved least back to the original."""

    name: ClassVar[str] = "salun-soft"
    source: ClassVar[str] = "Fan et al. 2024, arXiv 2310.12508"
    claim: ClassVar[Claim] = Claim.APPROXIMATE
    needs: ClassVar[frozenset[str]] = frozenset()

    lr: float = setting(
        0.01, "learning rate of SGD with momentum 0.9", typical="0.0005 to 0.05", least=0
    )
    share: float = setting(
        0.5,
        "share of the weights that is held at the start; falls to 0 in a line",
        typical="0.1 to 0.9",
        least=0,
        most=1,
    )
    moving_anchor: bool = setting(
        False, "as published code: differences are taken to the weights at the epoch's start"
    )

    def __call__(
        self, problem: Problem, models: Ensemble, inputs: MethodInputs = NO_INPUTS, *, seed: int
    ) -> Result:
        """See `Method`."""
        steps = self.steps(problem)
        epoch = steps // self.epochs

        def softened(before: Ensemble) -> Callable[[int, Ensemble], None]:
            anchor = {name: w.detach().clone() for name, w in before.weights().items()}

            def after(step: int, models: Ensemble) -> None:
                pull_back(models, anchor, self.share * (1 - (step + 1) / steps))
                if self.moving_anchor and (step + 1) % epoch == 0:
                    anchor.update({n: w.detach().clone() for n, w in models.weights().items()})

            return after

        return self.relabelled(problem, models, inputs, seed=seed, after=softened)


def pull_back(models: Ensemble, anchor: dict[str, torch.Tensor], share: float) -> None:
    """Soft-threshold the differences to `anchor`, in place; `share` of each member's become 0."""
    weights, members = models.weights(), len(models)
    with torch.no_grad():
        moved = [(w - anchor[name]).reshape(members, -1).abs() for name, w in weights.items()]
        sizes = torch.cat(moved, dim=1)
        count = int(share * sizes.shape[1])
        if not count:
            return
        threshold = sizes.kthvalue(count, dim=1).values
        for name, w in weights.items():
            d = (w - anchor[name]).reshape(members, -1)
            kept = d.sign() * (d.abs() - threshold[:, None]).clamp_min(0)
            w.copy_(anchor[name] + kept.reshape(w.shape))
