"""A point: one model's weights on one task and data, where derivatives are taken."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_map

from expunge.data import Batch, Data, walk
from expunge.engine.ensemble import EVAL_DRAWS
from expunge.engine.kernels import stepwise_attention
from expunge.problem import Task

Weights = dict[str, Tensor]
Score = Callable[[Tensor, Batch], Tensor]

SIZE = 256  # rows a batch
NUMBERS = 1 << 24  # of per-row gradients held at a time: 64 MiB in float32


@dataclass(frozen=True)
class Point:
    """Where derivatives are taken; the module is put into evaluation mode meanwhile."""

    task: Task
    data: Data
    module: nn.Module

    @cached_property
    def weights(self) -> Weights:
        """The trainable parameters, detached, not copied."""
        named = self.module.named_parameters()
        return {name: p.detach() for name, p in named if p.requires_grad}

    @cached_property
    def size(self) -> int:
        """Number of trainable weights."""
        return sum(w.numel() for w in self.weights.values())

    def at(self, weights: Mapping[str, Tensor]) -> Callable[..., Any]:
        """The module with these weights in the place of its own, as a function."""
        return lambda *args, **kwargs: functional_call(self.module, dict(weights), args, kwargs)

    def batches(self, rows: Tensor, size: int = SIZE) -> Iterator[Batch]:
        """Rows as they are judged: not augmented, prepared with the same draws for all models."""
        device = next(iter(self.weights.values())).device
        with self.evaluating():
            for batch in self.data.batches(walk(rows.to(device), size)):
                yield self.task.prepare(batch, EVAL_DRAWS.by_row(batch.rows), training=False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode and no fused attention inside; every submodule's own mode on exit."""
        before = [(module, module.training) for module in self.module.modules()]
        self.module.eval()
        try:
            with stepwise_attention():
                yield
        finally:
            for module, training in before:
                module.training = training

    def gradient(self, rows: Tensor, score: Score | None = None) -> Weights:
        """Gradient of the SUM of the scores of these rows; the recipe's l2 is not in it.

        Args:
            rows: row numbers.
            score: of outputs (B, C) and their batch, (B,); default the loss.
        """
        total = {name: torch.zeros_like(w) for name, w in self.weights.items()}
        for batch in self.batches(rows):
            for name, g in self._backward(self._summed(score), batch).items():
                total[name] += g
        return total

    def row_gradients(self, rows: Tensor, score: Score | None = None) -> Iterator[Weights]:
        """Gradients of each row by itself, some rows at a time: by name, (B, *shape).

        Args:
            rows: row numbers.
            score: as in `gradient`.
        """
        summed = self._summed(score)

        def one(weights: Weights, row: Batch) -> Tensor:
            return summed(weights, tree_map(lambda t: t[None], row))

        each = vmap(grad(one), in_dims=(None, 0))
        for batch in self.batches(rows, max(1, min(SIZE, NUMBERS // self.size))):
            try:
                yield each(self.weights, batch)
            except (RuntimeError, NotImplementedError):  # vmap refuses some modules: row by row
                singles = [tree_map(lambda t, i=i: t[i], batch) for i in range(len(batch.rows))]
                grads = [self._backward(one, row) for row in singles]
                yield {name: torch.stack([g[name] for g in grads]) for name in self.weights}

    def _summed(self, score: Score | None) -> Callable[[Weights, Batch], Tensor]:
        scored = self.task.loss if score is None else score

        def total(weights: Weights, batch: Batch) -> Tensor:
            return scored(self.task.outputs(self.at(weights), batch), batch).sum()

        return total

    def _backward(self, loss: Callable[[Weights, Batch], Tensor], batch: Batch) -> Weights:
        """By plain autograd, which every module bears."""
        leaves = {name: w.clone().requires_grad_() for name, w in self.weights.items()}
        with torch.enable_grad():
            found = torch.autograd.grad(
                loss(leaves, batch), list(leaves.values()), materialize_grads=True
            )
        return {name: dense(g) for name, g in zip(leaves, found, strict=True)}


def dense(gradient: Tensor) -> Tensor:
    """A gradient with all its zeros: embeddings may give sparse ones."""
    return gradient.to_dense() if gradient.is_sparse else gradient


def unflattened(vector: Tensor, like: Weights) -> Weights:
    """One long vector as weights, shaped and typed as `like` and in its order."""
    parts = vector.split([w.numel() for w in like.values()])
    return {n: part.view_as(w).to(w) for (n, w), part in zip(like.items(), parts, strict=True)}
