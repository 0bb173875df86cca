"""Random tensors that depend only on (seed, purpose, member, step).

Nothing is carried from one draw to the next, so a run resumes without saving a generator, and
neither the size of a group nor the number of processes can change a draw.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Draws:
    """A named place in the tree of all draws; `at` walks down, the other methods draw.

    With `members` the tensors drawn have the member axis first, and row k depends on the number
    of member k alone, not on its neighbours. With `rows` it is so for each row of a batch.
    """

    key: tuple[int | str, ...]
    members: tuple[int, ...] | None = None
    rows: tuple[int, ...] | None = None

    def at(self, *where: int | str) -> "Draws":
        """The place below this one that is named by `where`, e.g. ("epoch", 3)."""
        return replace(self, key=self.key + where)

    def of(self, members: Sequence[int] | None) -> "Draws":
        """The same place, drawing once for each of these members (None: once)."""
        return replace(self, members=None if members is None else tuple(members))

    def by_row(self, rows: Tensor) -> "Draws":
        """The same place, drawing for each of these row numbers, (B,), apart.

        A shape then begins with B, and what row b gets depends on its number alone.
        """
        return replace(self, rows=tuple(rows.tolist()))

    def seeds(self) -> list[int]:
        """A 63-bit seed for each member (one if there are no members)."""
        paths = [self.key] if self.members is None else [(*self.key, m) for m in self.members]
        # a numpy integer has another repr than the same number of Python's
        plain = (tuple(w if isinstance(w, str) else int(w) for w in path) for path in paths)
        hashes = (hashlib.sha256(repr(path).encode()).digest() for path in plain)
        return [int.from_bytes(h[:8]) >> 1 for h in hashes]

    def each(self, make: Callable[[Generator], Tensor]) -> Tensor:
        """`make(generator)` for each member, stacked; without members just the one tensor."""
        drawn = [make(Generator().manual_seed(seed)) for seed in self.seeds()]
        return drawn[0] if self.members is None else torch.stack(drawn)

    def permutation(self, n: int) -> Tensor:
        """A uniform permutation of 0..n-1, int64, (n,) or (members, n)."""
        return self.each(lambda g: torch.randperm(n, generator=g))

    def integers(self, high: int, shape: Sequence[int]) -> Tensor:
        """Uniform whole numbers in [0, high), int64, `shape` or (members, *shape)."""
        return self._drawn(shape, lambda s, g: torch.randint(high, s, generator=g))

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform float32 numbers in [0, 1), `shape` or (members, *shape)."""
        return self._drawn(shape, lambda s, g: torch.rand(s, generator=g))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal float32 numbers, `shape` or (members, *shape)."""
        return self._drawn(shape, lambda s, g: torch.randn(s, generator=g))

    def _drawn(
        self, shape: Sequence[int], make: Callable[[tuple[int, ...], Generator], Tensor]
    ) -> Tensor:
        if self.rows is None:
            return self.each(lambda g: make(tuple(shape), g))
        assert shape[0] == len(self.rows), f"a shape of {len(self.rows)} rows, not {shape[0]}"
        own = replace(self, rows=None, members=self.rows)
        return own.each(lambda g: make(tuple(shape[1:]), g))


def reseed(seed: int) -> None:
    """What `torch.manual_seed` does, fast enough for every step.

    That keeps a stack trace at every call for a device on which nothing runs yet, which takes
    longer than a step of a small model.
    """
    if torch.accelerator.is_available() and (
        torch.cuda.is_initialized() or not torch.cuda.is_available()
    ):
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python inside; put them back on exit.

    For code that is not ours and draws from them: a user's `build`, dropout, a data set's
    augmentation.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the user's code uses it)
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
