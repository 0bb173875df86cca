"""Sharded ridge regression in small (SISA): a row is read by one shard, which alone is retrained.

Source: Bourtoule et al. 2021, arXiv 1912.03817, without slices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

import expunge

ROWS, FEATURES, SHARDS, L2 = 90, 3, 4, 0.1


@dataclass(frozen=True)
class ShardModels:
    """Members of SHARDS ridge regressions each; they answer with the mean."""

    weights: Tensor  # (members, shards, features), float64
    ids: tuple[int, ...]

    @property
    def device(self):
        return self.weights.device

    def outputs(self, task, data, rows):
        x = torch.cat([batch.inputs for batch in data.batches(rows.split(1024))])
        return (x.double() @ self.weights.mean(1)[..., None]).float()

    def tensors(self):
        return {"weights": self.weights}

    def to(self, device):
        return self


class ShardedRidge(expunge.Training):
    """Which shard reads a row is drawn for each member, whatever other rows there are."""

    ensembles: ClassVar[bool] = False
    identity = f"sharded ridge, {SHARDS} shards, l2 {L2}"
    epochs = 1

    def __call__(self, problem, rows, ids, draws, device):
        solved = [self.solve(problem, rows, range(SHARDS), draws.of([i])) for i in ids]
        return ShardModels(torch.stack(solved), tuple(ids)), expunge.Cost(len(rows), len(rows))

    def load(self, tensors, ids):
        return ShardModels(tensors["weights"], tuple(ids))

    def shard_of(self, problem, draws) -> Tensor:
        """The shard of every train row, (rows,)."""
        return draws.at("shard").integers(SHARDS, (len(problem.train),))[0]

    def solve(self, problem, rows: Tensor, shards: Sequence[int], draws) -> Tensor:
        """The weights of some shards, (shards, features), from these rows alone."""
        (batch,) = problem.train.batches([rows])
        x, y = batch.inputs.double(), batch.targets.double()
        mine = self.shard_of(problem, draws)[rows]
        found = []
        for shard in shards:
            own = x[mine == shard], y[mine == shard]
            gram = own[0].T @ own[0] + L2 * torch.eye(FEATURES, dtype=torch.float64)
            found.append(torch.linalg.solve(gram, own[0].T @ own[1]))
        return torch.stack(found)


@dataclass(frozen=True)
class ForgetInShards:
    """Train the shards again that read a forgotten row."""

    name: ClassVar[str] = "forget-in-shards"
    source: ClassVar[str] = "Bourtoule et al. 2021"
    claim: ClassVar[expunge.Claim] = expunge.Claim.EXACT_BY_SHARD
    needs: ClassVar[frozenset[str]] = frozenset({"recipe"})
    any_models: ClassVar[bool] = True

    def __call__(self, problem, models, inputs=expunge.MethodInputs(), *, seed):  # noqa: B008
        training, weights = problem.training, models.weights.clone()
        for k, member in enumerate(models.ids):
            draws = expunge.Draws((seed, "train", "original")).of([member])
            hit = training.shard_of(problem, draws)[problem.forget].unique().tolist()
            weights[k, hit] = training.solve(problem, problem.retain, hit, draws)
        made = ShardModels(weights, models.ids)
        changed = expunge.largest_change(models, made)
        detail = {"shards": SHARDS, "left out": "nothing"}
        return expunge.Result(made, self.price(problem), changed, claim_detail=detail)

    def price(self, problem):
        return expunge.Cost(len(problem.retain), len(problem.retain))


def problem():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS + 40, FEATURES, generator=g)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3 * torch.randn(len(x), generator=g)
    y[:5] += 4.0
    cuts = slice(0, ROWS), slice(ROWS, ROWS + 20), slice(ROWS + 20, None)
    train, validation, test = (expunge.TensorData(x[cut], y[cut]) for cut in cuts)
    whole = expunge.Problem(
        expunge.Regression(), train, validation, test, recipe=ShardedRidge(), name="sharded"
    )
    return whole.forgetting([0, 1, 2, 3, 4])
