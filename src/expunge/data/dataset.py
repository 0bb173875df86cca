"""DatasetData: rows of any map-style `torch.utils.data.Dataset`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, default_collate

from expunge.data.collate import Joined, Numbered, joined
from expunge.data.data import Batch, Data, fetched, refuse_unusable
from expunge.errors import BadInput

READ_TWICE = 16  # rows read twice by DatasetData: a coin flip a row is missed once in 65,536 times


class DatasetData(Data):
    """Rows of a map-style `torch.utils.data.Dataset` whose items are (input, target).

    Args:
        train: the data set as it is trained on, perhaps with random augmentation.
        clean: the same rows without augmentation; default `train` itself, which must then give
            the same content at every read.
        collate: makes a batch of a list of items, such as `Padding` for tokens; default torch's
            `default_collate`. What a row holds may depend on the others of its batch only by
            padding that the model does not see.
        workers: processes that read ahead; 0 reads in this one.

    Raises:
        BadInput: the content of a row differs between two reads, an item is not a pair, or rows
            cannot be joined into a batch.
    """

    def __init__(
        self,
        train: Any,
        clean: Any = None,
        *,
        collate: Callable[[list], Any] = default_collate,
        workers: int = 0,
    ) -> None:
        self.train, self.clean = train, train if clean is None else clean
        self.collate, self.workers = collate, workers
        self.augments = self.train is not self.clean
        self.padded = collate is not default_collate
        if not isinstance(self.clean, Sized) or not isinstance(self.train, Sized):
            raise BadInput(
                f"{type(self.clean).__name__} has no length",
                expected="a map-style Dataset with __len__ and __getitem__",
                fix="materialise an iterable data set first, so that rows have numbers",
            )
        if len(self.train) != len(self.clean):
            raise BadInput(
                f"train has {len(self.train)} rows and clean has {len(self.clean)}",
                expected="the same rows twice, with and without augmentation",
                fix="build both from the same records",
            )
        self._require_stable()

    def __len__(self) -> int:
        return len(self.clean)

    def batches(self, plan: Iterable[Tensor], training: bool = False) -> Iterator[Batch]:
        """See `Data.batches`; `training` reads `train`, otherwise `clean` is read."""
        plan, waiting = iter(plan), deque()
        first = next(plan, None)
        if first is None:
            return

        def asked() -> Iterator[list[int]]:
            for rows in chain([first], plan):  # a plan may be longer than memory
                waiting.append(rows)
                yield rows.flatten().tolist()

        loader = DataLoader(
            Numbered(self.train if training else self.clean),  # type: ignore[arg-type]
            batch_sampler=asked(),  # type: ignore[arg-type]
            collate_fn=Joined(self.collate),
            num_workers=self.workers,
            pin_memory=self.workers > 0 and first.device.type == "cuda",
            # a generator of its own: the loader would otherwise draw from the global one
            generator=torch.Generator().manual_seed(torch.initial_seed() % 2**63),
        )
        for content in loader:
            rows = waiting.popleft()
            if isinstance(content, BadInput):
                raise content
            inputs, targets = content
            flat = rows.flatten().cpu()
            for leaf in tree_leaves((inputs, targets)):
                refuse_unusable(flat, leaf)
            inputs, targets = fetched(
                tree_map(lambda t, r=rows: t.reshape(*r.shape, *t.shape[1:]), (inputs, targets)),
                rows.device,
            )
            yield Batch(inputs, targets, rows)

    def _require_stable(self) -> None:
        rows = torch.linspace(0, len(self) - 1, min(READ_TWICE, len(self))).long().tolist()
        places = range(len(rows))
        items, again = ([self.clean[i] for i in rows] for _ in range(2))
        first, second = (
            [tree_leaves(joined(self.collate, rows[k : k + 1], read[k : k + 1])) for k in places]
            for read in (items, again)
        )
        if rows:
            joined(self.collate, rows, items)  # whether rows fit beside one another, too
        for row, a, b in zip(rows, first, second, strict=True):
            if not all(
                torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a, b, strict=True)
            ):
                raise BadInput(
                    f"row {row} of {type(self.clean).__name__} had other content when read again",
                    expected="the same content at every read, or predictions cannot be compared",
                    fix="pass the rows without augmentation too: DatasetData(train, clean=...)",
                )
