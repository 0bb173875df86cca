"""Spread: a jackknife over models for values, random splits of the oracles for the null.

Source of the delete-a-block jackknife: Quenouille 1949; Kott 2001, The Delete-a-Group Jackknife.
No bootstrap: its duplicates empty the bins of a histogram. Measured for the 95th percentile of
KLoM at 100 against 100 models: 0.8 to 1.8 times the true spread where the rows of a model move
together, up to 2.6 times where all rows are independent, so that intervals err to the careful side.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from expunge.errors import BadInput

Statistic = Callable[[Tensor, Tensor], Tensor]


def jackknife(statistic: Statistic, unlearned: Tensor, oracle: Tensor, blocks: int = 10) -> Tensor:
    """Standard error of a statistic of two groups of models, by leaving out blocks of models.

    Each group in turn is cut into B consecutive blocks of (nearly) equal size; T_b is the
    statistic without block b, and se^2 = sum over groups of (B - 1) / B sum_b (T_b - mean T)^2.
    A group smaller than `blocks` is left out model by model; a group of one adds nothing.

    Args:
        statistic: takes (unlearned, oracle), gives a tensor: several summaries of the same
            arrays share one pass.
        unlearned: (M, ...) models first.
        oracle: (N, ...) models first.
        blocks: B, at least 2.

    Returns:
        Standard errors, shaped as the statistic, in its unit, float64.

    Raises:
        BadInput: fewer than 2 blocks, or no group of at least two models.
    """
    if blocks < 2 or max(len(unlearned), len(oracle)) < 2:
        raise BadInput(
            f"{blocks} blocks of {len(unlearned)} and {len(oracle)} models",
            expected="at least 2 blocks, and at least 2 models in one group",
            cure="use 10 blocks, and more models",
        )
    variance = torch.zeros((), dtype=torch.float64)
    if len(unlearned) > 1:
        variance = variance + _variance(lambda kept: statistic(kept, oracle), unlearned, blocks)
    if len(oracle) > 1:
        variance = variance + _variance(lambda kept: statistic(unlearned, kept), oracle, blocks)
    return variance.sqrt()


def splits(
    pool: Tensor, size: int, count: int = 200, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random pairs of disjoint groups of models that differ in nothing but chance: the null.

    Args:
        pool: (P, ...) all oracles, models first.
        size: models in each group, at most P // 2.
        count: how many pairs.
        seed: decides the pairs, together with P and `size`.

    Yields:
        Two (size, ...) tensors.

    Raises:
        BadInput: the pool is too small for two groups.
    """
    if not 1 <= size <= len(pool) // 2:
        raise BadInput(
            f"two groups of {size} from {len(pool)} oracles",
            expected=f"a size from 1 to {len(pool) // 2}",
            cure="retrain more oracles, or compare smaller groups",
        )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        order = torch.randperm(len(pool), generator=generator)
        yield pool[order[:size]], pool[order[size : 2 * size]]


def _variance(statistic: Callable[[Tensor], Tensor], models: Tensor, blocks: int) -> Tensor:
    number = torch.arange(len(models))
    without = torch.stack(
        [
            statistic(models[(number < block[0]) | (number > block[-1])]).double()
            for block in number.tensor_split(min(blocks, len(models)))
        ]
    )
    spread = (without - without.mean(0)).square().sum(0)
    return (len(without) - 1) / len(without) * spread
