"""Shadow: what models say on rows of which it is known whether they were trained on them.

An attacker who knows nothing of the target's rows learns from such a model what membership looks
like, class by class (Shokri et al. 2017, arXiv 1610.05820; Song and Mittal 2021, arXiv 2003.10595).
What it says is one number a row; see `signals`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.audit.evidence.folder import Evidence, Outputs
from expunge.audit.metrics.metric import (
    CLASSES,
    LOGITS,
    MOST,
    Metric,
    Score,
    by_model,
    of_oracles,
    oracles,
)
from expunge.audit.metrics.signals import of_model
from expunge.errors import BadInput


@dataclass(frozen=True)
class Shadow:
    """Signals of shadow models, one for each target model, or a single one for all.

    Args:
        trained: (members, a) or (1, a), on rows that they were trained on.
        trained_targets: (a,) class numbers.
        unseen: (members, b) or (1, b), on rows that they were not trained on.
        unseen_targets: (b,) class numbers.

    Raises:
        BadInput: shapes that do not fit, no rows of a kind, or a signal that is not finite.
    """

    trained: Tensor
    trained_targets: Tensor
    unseen: Tensor
    unseen_targets: Tensor

    def __post_init__(self) -> None:
        _require("trained rows", self.trained, self.trained_targets)
        _require("unseen rows", self.unseen, self.unseen_targets)
        if len(self.trained) != len(self.unseen):
            raise BadInput(
                f"{len(self.trained)} shadow models on trained and {len(self.unseen)} on unseen "
                "rows",
                expected="the same models on both",
                fix="ask every shadow model about both kinds of rows",
            )
        if not self.trained.shape[1] or not self.unseen.shape[1]:
            raise BadInput(
                f"a shadow with {self.trained.shape[1]} trained and {self.unseen.shape[1]} unseen "
                "rows",
                expected="at least one row of each kind",
                fix="take retained rows and test rows of a retrained model",
            )

    def of_class(self, label: int) -> tuple[Tensor, Tensor]:
        """Its signals on rows of a class, trained (members, a') and unseen (members, b').

        Where either kind has no row of the class, as where a class was forgotten whole, those of
        all classes stand in.
        """
        own = self.trained_targets == label, self.unseen_targets == label
        if not own[0].any() or not own[1].any():
            return self.trained.double(), self.unseen.double()
        return self.trained[:, own[0]].double(), self.unseen[:, own[1]].double()

    def require_fits(self, values: Tensor, targets: Tensor) -> None:
        """Raise BadInput unless values (members, rows) and targets (rows,) can be judged by it."""
        _require("judged rows", values, targets)
        if len(self.trained) not in (1, len(values)):
            raise BadInput(
                f"{len(self.trained)} shadow models for {len(values)} judged models",
                expected="one for each, or a single one",
                fix="give each model a shadow of its own, or keep one",
            )


def _require(what: str, values: Tensor, targets: Tensor) -> None:
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    fits = values.ndim == 2 and len(values) and tuple(targets.shape) == tuple(values.shape[1:])
    if not fits or not whole:
        raise BadInput(
            f"{what}: signals of shape {tuple(values.shape)} with targets of shape "
            f"{tuple(targets.shape)}, {targets.dtype}",
            expected="(members, rows) and class numbers (rows,), at least one member",
            fix="put the models first, with an axis of length 1 for a single model",
        )
    if not values.isfinite().all():
        raise BadInput(
            f"{what}: {int((~values.isfinite()).sum())} signals are NaN or infinite",
            expected="finite numbers",
            fix="look for a model whose training diverged, and train it again",
        )


def shadowed(
    name: str, attack: Callable[[Tensor, Tensor, Shadow], Tensor], definition: str
) -> Metric:
    """The metric of an attack on the modified entropy: its mean over forgotten rows, in percent.

    The shadow of a model is the oracle of the next number, never that of the same number, since
    the models that are judged may be the oracles themselves.
    """

    def measure(file: Outputs, evidence: Evidence) -> Score:
        oracle, targets = evidence.oracle, evidence.targets
        kept = ~torch.isin(targets["test"], evidence.emptied)

        def signal(of: Outputs, group: str, k: int) -> Tensor:
            return of_model("modified_entropy", of, evidence, group, k)[None]

        def one(k: int) -> float:
            other = (k + 1) % len(oracle["forget"])
            trained, unseen = (signal(oracle, group, other) for group in ("retain", "test"))
            shadow = Shadow(trained, targets["retain"], unseen[:, kept], targets["test"][kept])
            found = attack(signal(file, "forget", k), targets["forget"], shadow)
            return 100 * float(found.double().mean())

        return by_model(one, file)

    needs, null = (CLASSES, LOGITS, oracles(2)), of_oracles(measure, MOST)
    return Metric(name, "%", "nearer", needs, measure, null, definition, MOST)
