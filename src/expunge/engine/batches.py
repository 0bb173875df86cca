"""Row numbers of each step: passes over rows, each in a fresh order."""

from collections.abc import Iterator

from torch import Tensor

from expunge.rng import Draws


def epochs(
    rows: Tensor, batch_size: int, count: int, draws: Draws, *, reshuffle: bool = True
) -> Iterator[Tensor]:
    """Batches of row numbers, (members, B): `count` passes over `rows`, each in a fresh order.

    A pass has floor(rows / batch_size) full batches, or one batch of all rows if there are fewer.

    Args:
        rows: (n,) for all members, or (members, n).
        batch_size: B, at most n are used.
        count: passes.
        draws: of the members; pass e is drawn at ("epoch", e).
        reshuffle: False passes in the order of the first epoch again and again.
    """
    n = rows.shape[-1]
    size = min(batch_size, n)
    for epoch in range(count):
        order = draws.at("epoch", epoch if reshuffle else 0).permutation(n)
        shuffled = rows.expand(len(order), n).gather(1, order)
        yield from shuffled[:, : n // size * size].split(size, dim=1)


def endless(rows: Tensor, batch_size: int, draws: Draws) -> Iterator[Tensor]:
    """Batches of row numbers, (members, B), passing over `rows` again and again."""
    epoch = 0
    while True:
        yield from epochs(rows, batch_size, 1, draws.at("pass", epoch))
        epoch += 1
