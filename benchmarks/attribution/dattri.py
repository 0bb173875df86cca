"""Attributors of dattri, asked what `run.py` asks of ours.

TRAK: as `attribution_peers.traker`, but in the unit of margins.

Influence: score = grad m H^-1 grad loss with H of the mean loss, so the change is score / rows
trained on. H is the true Hessian, which has negative eigenvalues: Arnoldi's iteration keeps the
largest 20, as with 50 or the default 100 scores were NaN on digits; the damping (0 by default) is
that of ours. Its conjugate gradients (ten) took 42 to 50 s for one model on digits, and agreed with
Arnoldi's only at a damping of 1. Inverse products are made again for every batch of train rows, so
all rows are one.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.attribution.ask import Ask
from expunge.audit.evidence.margin import classification_margin

DIRECTIONS = 20  # of Arnoldi's iteration


def trak(ask: Ask, dimension: int) -> Tensor:
    """TRAK in dattri."""
    from dattri.algorithm.trak import TRAKAttributor

    def right(weights: Any, row: Any) -> Tensor:
        return torch.sigmoid(_margin(ask.module, weights, row))

    task = _task(ask, _margin, _margin)
    made = TRAKAttributor(
        task, right, projector_kwargs={"proj_dim": dimension, "proj_max_batch_size": 32}
    )
    made.cache(_loader(ask.train))
    return ask.summed(-made.attribute(_loader(ask.judged))[ask.asked])


def influence(ask: Ask) -> Tensor:
    """Influence functions in dattri, by Arnoldi's iteration."""
    from dattri.algorithm.influence_function import IFAttributorArnoldi

    made = IFAttributorArnoldi(
        _task(ask, _loss, _margin), proj_dim=DIRECTIONS, regularization=ask.damping
    )
    made.cache(_loader(ask.train))
    inputs, targets = ask.train
    asked = _loader((inputs[ask.asked], targets[ask.asked]))
    scores = made.attribute(asked, _loader(ask.judged)).detach()
    return ask.summed(scores / len(targets))


def _task(ask: Ask, loss: Callable, target: Callable) -> Any:
    from dattri.task import AttributionTask

    module = copy.deepcopy(ask.module).eval()
    return AttributionTask(
        loss_func=lambda weights, rows: loss(module, weights, rows),
        model=module,
        checkpoints=module.state_dict(),
        target_func=lambda weights, rows: target(module, weights, rows),
    )


def _margin(module: nn.Module, weights: Any, rows: Any) -> Tensor:
    """The margin of a row, with or without a batch axis of one."""
    z, y = _outputs(module, weights, rows)
    return classification_margin(z, y).sum()


def _loss(module: nn.Module, weights: Any, rows: Any) -> Tensor:
    """The mean loss, the batch axis in front."""
    z, y = _outputs(module, weights, rows)
    # no cross_entropy: a second derivative under vmap has to pass
    return (z.logsumexp(-1) - z.gather(-1, y[:, None]).squeeze(-1)).mean()


def _outputs(module: nn.Module, weights: Any, rows: Any) -> tuple[Tensor, Tensor]:
    inputs, targets = rows
    if targets.ndim == 0:
        inputs, targets = inputs[None], targets[None]
    return functional_call(module, weights, inputs), targets


def _loader(pair: tuple[Tensor, Tensor]) -> DataLoader:
    warnings.filterwarnings("ignore", module="dattri")
    return DataLoader(TensorDataset(*pair), batch_size=len(pair[1]), shuffle=False)
