"""What models answered, reduced to a few numbers a row: enough for every metric, small enough to
keep.

The margin m = log(p / (1 - p)) holds the confidence in the true class, p = sigmoid(m), and the
loss, softplus(-m).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.audit.evidence.margin import classification_margin
from expunge.audit.metrics.signals import entropy, modified_entropy
from expunge.audit.metrics.zrf import js

GROUPS = ("forget", "retain", "test")
VALUES = ("margin", "correct", "entropy", "modified_entropy", "divergence")


@dataclass(frozen=True)
class Answers:
    """Of the models of one cell on one group of rows; (members, rows) float32, or bool.

    Attributes:
        rows: (rows,) row numbers.
        targets: (rows,) true classes.
        margin: nats.
        correct: whether the largest output is that of the true class.
        entropy: nats.
        modified_entropy: nats.
        divergence: Jensen-Shannon divergence to an untrained model, bits; None if not measured.
    """

    rows: Tensor
    targets: Tensor
    margin: Tensor
    correct: Tensor
    entropy: Tensor
    modified_entropy: Tensor
    divergence: Tensor | None = None

    @property
    def confidence(self) -> Tensor:
        """Probability of the true class, float64."""
        return self.margin.double().sigmoid()

    @property
    def loss(self) -> Tensor:
        """Cross-entropy in nats, float64."""
        return torch.nn.functional.softplus(-self.margin.double())

    def only(self, kept: Tensor) -> "Answers":
        """The same on some of the rows, (rows,) bool."""
        return Answers(
            rows=self.rows[kept],
            targets=self.targets[kept],
            margin=self.margin[:, kept],
            correct=self.correct[:, kept],
            entropy=self.entropy[:, kept],
            modified_entropy=self.modified_entropy[:, kept],
            divergence=None if self.divergence is None else self.divergence[:, kept],
        )


Cell = dict[str, Answers]  # by group


def answers(
    outputs: Iterable[Mapping[str, Tensor]],
    targets: Mapping[str, Tensor],
    untrained: Callable[[range], Tensor] | None,
) -> Cell:
    """Reduce outputs, block by block.

    Args:
        outputs: blocks of models, group -> (members, rows, C).
        targets: group -> (rows,), and `<group>_rows`, as `Panel.targets` gives them.
        untrained: of some members' places, what as many untrained models say on the forgotten
            rows, (members, rows, C).
    """
    found, start = [], 0
    for block in outputs:
        members = len(block["forget"])
        blank = None if untrained is None else untrained(range(start, start + members))
        found.append(_reduced(block, targets, blank))
        start += members
    return {group: _joined([cell[group] for cell in found]) for group in found[0]}


def _reduced(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], untrained: Tensor | None
) -> Cell:
    cell = {}
    for group in (name for name in outputs if name in targets):
        z, y = outputs[group], targets[group]
        apart = None
        if group == "forget" and untrained is not None and z.shape[-1] == untrained.shape[-1]:
            apart = js(z, untrained).float()
        cell[group] = Answers(
            rows=targets[f"{group}_rows"],
            targets=y,
            margin=classification_margin(z.double(), y).float(),
            correct=z.argmax(-1) == y,
            entropy=entropy(z).float(),
            modified_entropy=modified_entropy(z, y).float(),
            divergence=apart,
        )
    return cell


def _joined(parts: Sequence[Answers]) -> Answers:
    """Answers of more and more models on the same rows."""
    values = {name: [getattr(part, name) for part in parts] for name in VALUES}
    if parts[0].divergence is None:
        del values["divergence"]
    return replace(parts[0], **{name: torch.cat(each) for name, each in values.items()})
