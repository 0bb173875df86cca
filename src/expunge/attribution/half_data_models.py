"""Half-data models: on which rows each was trained, and what it says on every row.

They are read block by block, so that memory holds one block and what is asked, however many models
and rows there are. Whatever is linear in the outputs is a weight for each model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from expunge.errors import BadInput

ROWS = "rows"  # the entry of a block that is no split
CHUNK = 1 << 22  # numbers turned to float64 at a time: 32 MiB

# "rows": (models, |S| // 2) int64; and for each split the outputs, (models, rows, C) float32
Block = Mapping[str, Tensor]


class First(Sequence[Block]):
    """The first `count` models of blocks that are of one size, but for the last; still lazy."""

    def __init__(self, blocks: Sequence[Block], count: int) -> None:
        self._blocks, self._count, self._size = blocks, count, len(blocks[0][ROWS])

    def __len__(self) -> int:
        return -(-self._count // self._size)

    def __getitem__(self, place):  # type: ignore[override]
        if not 0 <= place < len(self):
            raise IndexError(place)
        left = self._count - place * self._size
        return {name: tensor[:left] for name, tensor in self._blocks[place].items()}


class Sums(NamedTuple):
    """Of some rows' outputs: weighted sums over models, and the variance over models."""

    weighted: Tensor  # (weightings, rows, C) float64, of outputs less their mean over models
    variance: Tensor  # (rows, C) float64


@dataclass(frozen=True)
class HalfDataModels:
    """Half-data models of one recipe.

    Args:
        blocks: read one at a time, and again for each question.
        present: (n,) bool, the rows S that halves were drawn from.
        centred: outputs are logits, of which only differences between classes mean anything: each
            row's are taken less their mean, which is noise.
    """

    blocks: Sequence[Block]
    present: Tensor
    centred: bool = False

    @cached_property
    def rows(self) -> Tensor:
        """(models, |S| // 2) int64: what each was trained on."""
        return torch.cat([block[ROWS] for block in self.blocks])

    @cached_property
    def splits(self) -> dict[str, tuple[int, int]]:
        """(rows, C) of each split."""
        shapes = {name: t.shape for name, t in self.blocks[0].items() if name != ROWS}
        return {name: (shape[1], shape[2]) for name, shape in sorted(shapes.items())}

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> "HalfDataModels":
        """These, as if only the first `count` models were there; 0 takes all.

        Raises:
            BadInput: there are fewer.
        """
        if not count:
            return self
        if not 0 < count <= len(self):
            raise BadInput(
                f"an attribution from {count} half-data models, where there are {len(self)}",
                expected=f"from 1 to {len(self)}, or 0 for all",
                fix="lower it, or make more with --half-models",
            )
        return HalfDataModels(First(self.blocks, count), self.present, self.centred)

    def memberships(self, rows: Tensor) -> Tensor:
        """(models, rows) float64: 1 where a model was trained on a row."""
        place = torch.full((len(self.present),), len(rows), dtype=torch.int64)
        place[rows] = torch.arange(len(rows))
        inside = torch.zeros(len(self), len(rows) + 1, dtype=torch.float64)
        return inside.scatter_(1, place[self.rows], 1.0)[:, :-1]

    def sums(self, weights: Tensor, asked: Mapping[str, Tensor]) -> dict[str, Sums]:
        """Weighted sums of outputs, in one pass over the blocks.

        Args:
            weights: (weightings, models) float64.
            asked: by split, row numbers.
        """
        found: dict[str, list[Tensor]] = {}
        for split, rows in asked.items():
            shape = (len(rows), self.splits[split][1])
            zeros = torch.zeros(2 + len(weights), *shape, dtype=torch.float64)
            found[split] = [zeros[0], zeros[1], zeros[2:]]
        start = 0
        for block in self.blocks:
            own = weights[:, start : start + len(block[ROWS])]
            start += own.shape[1]
            for split, rows in asked.items():
                size = max(1, CHUNK // (own.shape[1] * self.splits[split][1]))
                for piece in torch.arange(len(rows)).split(size):
                    z = self._outputs(block, split, rows[piece])
                    for total, new in zip(
                        found[split],
                        (z.sum(0), z.square().sum(0), torch.tensordot(own, z, dims=1)),
                        strict=True,
                    ):
                        total[..., piece, :] += new
        return {split: self._moments(weights, *totals) for split, totals in found.items()}

    def sampled(self, chosen: Mapping[str, Tensor]) -> Tensor:
        """Some outputs of every model, (models, outputs) float64, from flat places in splits."""
        pieces = []
        for block in self.blocks:
            own = []
            for split, places in sorted(chosen.items()):
                classes = self.splits[split][1]
                z = self._outputs(block, split, places // classes)
                index = (places % classes).expand(len(z), -1)[..., None]
                own.append(z.gather(2, index).squeeze(-1))
            pieces.append(torch.cat(own, dim=1))
        return torch.cat(pieces)

    def require_known(self, forget: Tensor) -> None:
        """Raise BadInput where a half was never drawn from one of these rows."""
        unknown = forget[~self.present[forget]]
        if len(unknown):
            raise BadInput(
                f"row {unknown[0].item()} was in no half-data model ({len(unknown)} such)",
                expected="rows that were present when the attribution was fitted",
                fix="fit the attribution again",
            )

    def _outputs(self, block: Block, split: str, rows: Tensor) -> Tensor:
        z = block[split][:, rows].double()
        return z - z.mean(-1, keepdim=True) if self.centred else z

    def _moments(self, weights: Tensor, total: Tensor, squares: Tensor, found: Tensor) -> Sums:
        models = len(self)
        mean = total / models
        # weights sum to nearly zero, but outputs are centred so that "nearly" does not matter
        weighted = found - weights.sum(1)[:, None, None] * mean
        variance = (squares - models * mean.square()) / (models - 1)
        return Sums(weighted, variance.clamp_min(0.0))
