"""A bar of the rows that are read, where reading and what is done with it takes a while."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

from torch import Tensor

from expunge.data.data import Batch, Data
from expunge.fanout import bar

PATIENCE = 2.0  # seconds before a bar appears; work that is over by then shows none
EVERY = 0.1  # seconds between two moves of the bar: a move takes as long as a small model's step


class Meter:
    """Counts rows and shows them; see `with_progress`."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total = label, total
        self._start = self._last = perf_counter()
        self._rows, self._advance = 0, None
        self._stack = ExitStack()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *why: object) -> None:
        if self._advance is not None:
            self._advance(self._rows)
        self._stack.close()

    def add(self, rows: int) -> None:
        """So many rows more were read."""
        self._rows += rows
        now = perf_counter()
        if now - self._last < EVERY:
            return
        if self._advance is None and now - self._start >= PATIENCE:
            self._advance = self._stack.enter_context(bar(self.label, self.total, True))
        if self._advance is not None:
            self._advance(self._rows)
            self._rows, self._last = 0, now


@contextmanager
def with_progress(data: Data, label: str, total: int, show: bool) -> Iterator[Data]:
    """The same data, which inside tells on a bar how many rows it has given out.

    Args:
        data: not changed; of whatever kind it is, so is what is yielded.
        label: what the bar says, e.g. "Forgetting, rows".
        total: rows that will be read, with repetition.
        show: False shows nothing.
    """
    if not show:
        yield data
        return
    with Meter(label, total) as meter:

        def batches(plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
            for batch in data.batches(plan, training):
                meter.add(batch.rows.shape[-1])
                yield batch

        yield _twin(data, batches)


def _twin(data: Any, batches: Callable[..., Iterator[Batch]]) -> Any:
    """The same data with another way to read it; the data itself where it has no attributes.

    It is no copy: what the data holds, copies of its rows on a device included, both hold.
    """
    if not hasattr(data, "__dict__"):  # slots
        return data
    twin = object.__new__(type(data))
    twin.__dict__.update(data.__dict__, batches=batches)
    return twin
