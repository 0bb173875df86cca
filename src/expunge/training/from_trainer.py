"""Models made by the user's own Trainer: called under seeded generators, one model at a time."""

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor, nn

from expunge.data import Data
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Problem, Trainer, Training
from expunge.rng import Draws, seeded


class FromTrainer(Training):
    """Training by the user's own Trainer, a function."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.epochs = getattr(trainer, "epochs", None)
        self.identity = getattr(trainer, "key", "")

    def __call__(
        self, problem: Problem, rows: Tensor, ids: Sequence[int], draws: Draws, device: str
    ) -> tuple[Ensemble, Cost]:
        """See `Training`.

        Raises:
            BadInput: two members have the very same weights.
        """
        start = perf_counter()
        modules = []
        for k, member in enumerate(ids):
            own = rows if rows.ndim == 1 else rows[k]
            seed = draws.of([member]).seeds()[0]
            modules.append(self.module(problem.train, own, seed, device))
        first, *others = (Ensemble.of(module).tensors() for module in modules)
        for other in others:
            if all(torch.equal(first[name], other[name]) for name in first):
                raise same_weights()
        read = self.rows_read(rows.shape[-1])
        models = Ensemble.stack(modules, ids, group=1)
        return models, Cost(read, read, (perf_counter() - start) / len(ids))

    def module(self, data: Data, rows: Tensor, seed: int, device: str) -> nn.Module:
        """One training, under seeded global generators."""
        short = seed % 2**31  # what every library accepts
        with seeded(short):
            module = self.trainer(data, rows, seed=short, device=device)
        if not isinstance(module, nn.Module):
            raise BadInput(
                f"the Trainer returned a {type(module).__name__}",
                expected="the trained torch.nn.Module",
                fix="end the Trainer with `return model`",
            )
        return module


def same_weights() -> BadInput:
    """The error for a Trainer that does not train from its seed."""
    return BadInput(
        "the Trainer gave the very same weights for two seeds",
        expected="a model trained from scratch from each seed",
        fix="build a new model in the Trainer, and do not fix a seed of your own there",
    )
