"""A long training goes on where it was killed: what it needs is kept every minute or so.

Draws depend only on (seed, purpose, member, step), so that tensors, the optimizer's state and the
number of steps are all of it.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.errors import BadInput
from expunge.store import Store

EVERY = 60.0  # seconds; shorter trainings keep nothing
SHARE = 0.02  # of the time that keeping may take: large models are kept more rarely


class Spent(NamedTuple):
    """How far a training is: steps done, rows read by each member, and seconds."""

    steps: int = 0
    rows: int = 0
    seconds: float = 0.0


@dataclass
class Checkpoint:
    """One training, in a store.

    Attributes:
        store: where it is kept.
        key: under which name.
        every: seconds from one keeping to the next, at least.
        share: of the time that keeping may take.
        live: the tensors that the training changes (weights, buffers, averages), by name; they
            are put back in place.
    """

    store: Store
    key: str
    every: float = EVERY
    share: float = SHARE
    live: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._last, self._pause = perf_counter(), self.every

    @cached_property
    def _latest(self) -> tuple[str, Spent] | None:
        """Where the latest keeping lies, and what was done by then."""
        told = {place: found.facts for place in self._places if (found := self.store.load(place))}
        place = max(told, key=lambda place: told[place]["steps"], default=None)
        return None if place is None else (place, Spent(**told[place]))

    @property
    def _places(self) -> tuple[str, str]:
        """Two, since what is there must outlast the keeping of what replaces it."""
        return f"{self.key}-a", f"{self.key}-b"

    @property
    def spent(self) -> Spent:
        """What was done before; nothing where nothing is kept."""
        return self._latest[1] if self._latest else Spent()

    def resume(self, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> Spent:
        """Put tensors and the optimizer's state back as they were; returns what was done."""
        found = self._latest and self.store.load(self._latest[0])
        if not found:
            return Spent()
        kept = found.tensors
        with torch.no_grad():
            for name, tensor in self.live.items():
                tensor.copy_(kept[f"live/{name}"])
        for name, weight in weights.items():
            prefix = f"optimizer/{name}/"
            for own in (key for key in kept if key.startswith(prefix)):
                # a step count stays on the CPU, where optimizers expect it
                where = weight.device if kept[own].ndim else "cpu"
                optimizer.state[weight][own.removeprefix(prefix)] = kept[own].to(where)
        return self.spent

    def offer(
        self, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, spent: Spent
    ) -> None:
        """Keep the training as it is now, if that was last done long enough ago."""
        start = perf_counter()
        if start - self._last < self._pause:
            return
        tensors = {f"live/{name}": tensor for name, tensor in self.live.items()}
        for name, weight in weights.items():
            for part, value in optimizer.state[weight].items():
                if value is not None:
                    tensors[f"optimizer/{name}/{part}"] = torch.as_tensor(value)
        old, new = self._places
        if self._latest and self._latest[0] == new:
            old, new = new, old
        try:
            self.store.save(new, tensors, spent._asdict())
            self._latest = new, spent
            self.store.remove(old)
        except BadInput as error:  # a full disk may have room again by the end
            warnings.warn(f"the half-done training is not kept: {error}", stacklevel=2)
        self._last = perf_counter()
        self._pause = max(self.every, (self._last - start) / self.share)

    def drop(self) -> None:
        """Forget it: the training is over, and its result is kept."""
        for place in self._places:
            self.store.remove(place)
