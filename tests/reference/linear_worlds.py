"""Half-data models whose outputs are a sum over the rows trained on, so that the truth is known.

Model m is trained on H of N rows; each of its outputs is the sum over its rows of beta_i, plus
noise. The betas of an output sum to zero, so that replacing a row is removing it. Then

    E[f | i in S] - E[f | i not in S] = beta_i N / (N - 1),

since one row in means that, on average, each other row is in slightly less often. Over all
924 halves that there are, each once, the expectation is the mean: nothing is left to chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from expunge.attribution.datamodels import Datamodels
from expunge.attribution.half_data_models import ROWS, Block, HalfDataModels
from expunge.attribution.size_correction import Sizes
from expunge.contract.problems import generator
from expunge.engine.shifted import Change

N, H = 12, 6
TESTED = 7  # rows of the test split
FORGET = torch.tensor([2, 5, 6])
EVERY = torch.ones(N, dtype=torch.bool)
ALL = torch.tensor(list(combinations(range(N), H)))


def halves(models: int, seed: int) -> Tensor:
    g = generator(seed)
    return torch.stack([torch.randperm(N, generator=g)[:H].sort().values for _ in range(models)])


def effects(outputs: int, seed: int = 0) -> Tensor:
    """(N, outputs), each column with sum zero."""
    beta = torch.randn(N, outputs, generator=generator(seed), dtype=torch.float64)
    return beta - beta.mean(0)


def onehot(rows: Tensor) -> Tensor:
    """(models, N) float64: 1 where a model was trained on a row."""
    return torch.tensor(
        [[float(i in own) for i in range(N)] for own in rows.tolist()], dtype=torch.float64
    )


def world(
    models: int, outputs: int, noise: float, seed: int = 0, scale: float = 1.0
) -> tuple[HalfDataModels, dict[str, Tensor]]:
    """Halves of one block with the train and the test split, and the betas (N, rows, outputs)."""
    rows = halves(models, seed)
    x = torch.zeros(models, N, dtype=torch.float64).scatter_(1, rows, 1.0)
    block, betas = {ROWS: rows}, {}
    for k, (split, size) in enumerate({"train": N, "test": TESTED}.items()):
        beta = scale * effects(size * outputs, seed=100 * seed + k)
        error = torch.randn(models, size * outputs, generator=generator(7 + 100 * seed + k))
        block[split] = (x @ beta + noise * error).reshape(models, size, outputs).float()
        betas[split] = beta.reshape(N, size, outputs)
    return HalfDataModels([block], EVERY), betas


def planted(changes: Tensor) -> Tensor:
    """Outputs (924, rows, C) of all halves for which the difference of means is `changes`.

    In each, one row of FORGET alone has an effect, and all others the opposite, evenly.
    """
    beta = torch.full((N,), 1 / (N - 1), dtype=torch.float64)
    beta[FORGET[0]] = -1.0
    # the whole set's difference, by the formula above; three of its rows are in the sum
    whole = beta[FORGET].sum() * N / (N - 1)
    return (onehot(ALL) @ beta)[:, None, None] * -changes / whole


def truth(betas: dict[str, Tensor], split: str) -> Tensor:
    """What a difference of means without noise says, (rows, outputs)."""
    return -betas[split][FORGET].sum(0) * N / (N - 1)


def cut(whole: HalfDataModels, *sizes: int) -> list[Block]:
    """The one block of some halves in several, of these sizes."""
    (block,) = whole.blocks
    pieces = {name: tensor.split(list(sizes)) for name, tensor in block.items()}
    return [{name: piece[k] for name, piece in pieces.items()} for k in range(len(sizes))]


def halved(first: Tensor, second: Tensor, split: str = "train") -> HalfDataModels:
    """All halves twice, so that the two halves of the models say two planted changes exactly."""
    rows = ALL.repeat_interleave(2, 0)
    z = torch.stack([planted(first), planted(second)], 1).flatten(0, 1)
    return HalfDataModels([{ROWS: rows, split: z}], EVERY)


def noisy(seed: int, noise: float = 24.0) -> tuple[HalfDataModels, Tensor]:
    """All halves twice, 1,200 planted changes of sd 1.7 for the forgotten rows, and noise alone."""
    change = 1.7 * torch.randn(N, 400, generator=generator(seed), dtype=torch.float64)
    whole = halved(change[FORGET], change[FORGET])
    block = dict(whole.blocks[0])
    error = torch.randn(block["train"].shape, generator=generator(100 + seed))
    z = torch.zeros(len(error), N, 400)
    z[:, FORGET] = (block["train"] + noise * error).float()
    return HalfDataModels([{ROWS: block[ROWS], "train": z}], EVERY), change[FORGET]


@dataclass(frozen=True)
class Told:
    """Another source, told what to say of each of some models, for whole splits."""

    means: dict[str, Tensor]  # (members, rows, C)
    fewer: Mapping[str, Tensor] = field(default_factory=dict)  # of one row fewer
    sd: float = 0.0
    larger: float = 1.0  # effects in half-data models, relative to models of all rows

    def sizes(self, forget, asked):
        found = {}
        for split, rows in asked.items():
            mean = self.means[split][:, rows]
            fewer = torch.zeros_like(mean)
            if split in self.fewer:
                fewer = len(forget) * self.fewer[split][:, rows]
            sd = torch.full_like(mean, self.sd)
            found[split] = Sizes(Change(mean, sd), fewer, self.larger * (mean - fewer))
        return found


def told(betas: dict[str, Tensor], factor: float) -> Told:
    """Of one model."""
    return Told({split: factor * truth(betas, split)[None] for split in betas})


def bold(whole: HalfDataModels, around: Told | None = None, size: float | None = 1.0) -> Datamodels:
    """Datamodels that trust as if there were no chance, in a world where size does not matter."""
    return Datamodels(whole, around, shuffles=0, size=size)
