"""Models made by the user's own Trainer: called under seeded generators, one model at a time."""

from collections.abc import Mapping, Sequence
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
        own, seeds = rows.expand(len(ids), rows.shape[-1]), draws.of(ids).seeds()
        modules = [
            self.module(problem.train, chosen, seed, device)
            for chosen, seed in zip(own, seeds, strict=True)
        ]
        require_distinct([Ensemble.of(module).tensors() for module in modules])
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


def require_distinct(states: Sequence[Mapping[str, Tensor]]) -> None:
    """Raise BadInput where a Trainer returned the weights of the first seed for another one."""
    first, *others = states
    if any(all(torch.equal(first[name], other[name]) for name in first) for other in others):
        raise BadInput(
            "the Trainer gave the very same weights for two seeds",
            expected="a model trained from scratch from each seed",
            fix="build a new model in the Trainer, and do not fix a seed of your own there",
        )
