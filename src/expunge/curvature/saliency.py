"""The saliency mask: the weights that the forgotten rows' loss depends on most may move.

Source: Fan et al. 2024, "SalUn", arXiv 2310.12508, equation 4: weights ranked by the absolute value
of the gradient of the forgotten rows' loss, over all layers together. Differs: what is ranked is
the gradient of the whole set's loss in evaluation mode, without augmentation. Cost: 3 x |F| row
units a model.
"""

import torch
from torch import Tensor

from expunge.curvature.point import Point
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Problem


def saliency_mask(
    problem: Problem, models: Ensemble, share: float
) -> tuple[dict[str, Tensor], Cost]:
    """A mask for each model, for `MethodInputs.mask`, and what it cost.

    Args:
        problem: its forgotten rows decide.
        models: not changed.
        share: of all trainable weights that may move, in (0, 1]; ties go to the weights that
            come first.

    Returns:
        By parameter name, bool (members, *shape), True = may move; the cost of one model.

    Raises:
        BadInput: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise BadInput(
            f"a saliency mask of share {share}",
            expected="the share of weights that may move, above 0 and at most 1",
            fix="0.5 is what the published settings use most",
        )
    masks = []
    for module in models.modules():
        point = Point(problem.training_task, problem.served(), module)
        slope = point.gradient(problem.forget)
        size = torch.cat([g.abs().flatten() for g in slope.values()])
        chosen = torch.zeros_like(size, dtype=torch.bool)
        chosen[size.argsort(descending=True, stable=True)[: round(share * len(size))]] = True
        parts = chosen.split([g.numel() for g in slope.values()])
        masks.append(
            {name: part.view_as(g) for (name, g), part in zip(slope.items(), parts, strict=True)}
        )
    rows = len(problem.forget)
    mask = {name: torch.stack([one[name] for one in masks]) for name in masks[0]}
    return mask, Cost(rows, rows)
