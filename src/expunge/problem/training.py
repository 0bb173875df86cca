"""Training: how models are made from scratch on given rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from expunge.data import Data
from expunge.rng import Draws


class Training:
    """What a Recipe, a user's Trainer, a sharded and a private training have in common.

    A training of another package sets what it knows of the attributes and has `__call__`.

    Attributes:
        ensembles: it makes `Ensemble`s, which every method takes; others only where a method
            says so (`any_models`).
        stepwise: this package runs each gradient step, so models train in groups, and their
            steps can be replayed, linearised and drawn again. Only a `Recipe` is.
        epochs: passes over the rows, for prices; None where nobody knows.
        l2: weight of |theta|^2 / 2 in the training loss.
        penalty: of outputs, added to the loss of each row; None without one.
        augment: of a batch in training; None without one.
        precision: "fp32" or "bf16".
        identity: names the training, and changes when it does: stored models are found by it.
    """

    ensembles: ClassVar[bool] = True
    stepwise: ClassVar[bool] = False
    epochs: int | None = None
    l2: float = 0.0
    penalty: Callable[..., Tensor] | None = None
    augment: Callable[..., Any] | None = None
    precision: str = "fp32"
    identity: str = ""

    def __call__(
        self, problem: Any, rows: Tensor, ids: Sequence[int], draws: Draws, device: str
    ) -> tuple[Any, Any]:
        """Train members from scratch.

        Args:
            problem: a `Problem` whose train data hold nothing of other rows (`Data.restrict`).
            rows: (n,) for all members, or (members, n).
            ids: member numbers.
            draws: all randomness; that of a member depends on its number (`Draws.of`).
            device: where to train.

        Returns:
            The members (`Models`), and what was spent on each (`Cost`).
        """
        raise TypeError(f"{type(self).__name__} is no training: it has no __call__")

    def rows_read(self, rows: int) -> int:
        """Rows that one training on so many rows reads, with repetition; 0 where nobody knows."""
        return (self.epochs or 0) * rows

    def load(self, tensors: Mapping[str, Tensor], ids: Sequence[int]) -> Any:
        """Models again from their `tensors`, where they are no `Ensemble`; None where they are."""
        return None


class Trainer(Protocol):
    """The user's own training, one model at a time (a script, Hugging Face, Lightning, ...).

    It must train a new model from scratch on exactly these rows and draw everything from the
    global generators, which are seeded before each call, or from `seed`. Two optional attributes
    of the callable help: `epochs` (so that costs can be compared with one retraining) and `key`
    (a text that names the training; without it a training on a few rows is compared).
    """

    def __call__(self, data: Data, rows: Tensor, *, seed: int, device: str) -> nn.Module:
        """Train on `rows` of `data`; `data.train` is the Dataset that DatasetData was given."""
        ...
