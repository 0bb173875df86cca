"""The problems of the zoo by name: a new one is a function and an entry here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from expunge.problem import Problem
from expunge.problem.sd_penalty import SDPenalty
from expunge.registry import Registry, check, class_faults, described, setting
from expunge.zoo.cifar10 import cifar10
from expunge.zoo.cifar100 import cifar100
from expunge.zoo.digits import digits
from expunge.zoo.fashion import fashion
from expunge.zoo.imdb import imdb


@dataclass(frozen=True, kw_only=True)
class ZooProblem:
    """A problem, and how it may be changed; its settings are arguments of `load`."""

    name: ClassVar[str]
    load: ClassVar[Callable[..., Problem]]

    gamma: float = setting(0.0, "SD penalty in the paper's scaling; 0: none", least=0)

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, data: Path | str | None = None) -> Problem:
        """The problem, without rows to forget.

        Args:
            data: the data folder; None: the one that EXPUNGE_DATA names.
        """
        chosen = {s.name: getattr(self, s.name) for s in described(self) if s.name != "gamma"}
        made = type(self).load(data=data, **chosen)
        if not self.gamma:
            return made
        recipe = replace(made.stepwise_recipe, penalty=SDPenalty(self.gamma))
        return replace(made, recipe=recipe, name=f"{made.name}, SD penalty {self.gamma:g}")


@dataclass(frozen=True, kw_only=True)
class Sized(ZooProblem):
    """A problem that may be made smaller."""

    rows: int | None = setting(None, "train rows for a trial; none: all", unit="rows")
    epochs: int | None = setting(None, "other than the model's own", unit="epochs")


@dataclass(frozen=True, kw_only=True)
class CIFAR10(Sized):
    """CIFAR-10 with published forget sets."""

    precision: str = setting("fp32", "of the training", choices=("fp32", "bf16"))
    keep: tuple[int, ...] = setting((), "official numbers of rows that are train rows")
    published: tuple[int, ...] = setting((), "published forget sets whose rows are train rows")


def _entry(
    name: str, what: str, load: Callable[..., Problem], base: type[ZooProblem] = Sized
) -> type[ZooProblem]:
    return type(name, (base,), {"name": name, "__doc__": what, "load": staticmethod(load)})


PROBLEMS: Registry[ZooProblem] = Registry(
    "problem",
    _entry("digits", "Hand-written digits, a perceptron.", lambda data: digits(), ZooProblem),
    _entry("fashion", "Fashion-MNIST, a convolutional network.", partial(fashion, "conv")),
    _entry("fashion-mlp", "Fashion-MNIST, a perceptron.", partial(fashion, "mlp")),
    _entry("cifar10", "CIFAR-10, ResNet-18.", partial(cifar10, "resnet18"), CIFAR10),
    _entry("cifar10-resnet9", "CIFAR-10, ResNet-9.", partial(cifar10, "resnet9"), CIFAR10),
    _entry("cifar10-small", "CIFAR-10, a small network.", partial(cifar10, "small"), CIFAR10),
    _entry("cifar100-small", "25 classes of CIFAR-100, a small network.", cifar100),
    _entry("imdb", "IMDB reviews, a bag of words.", imdb),
    faults=lambda kind: class_faults(kind, {"__call__": "def __call__(self, data=None)"}),
    also=", or FILE.py:NAME",
)


def problem(name: str, data: Path | str | None = None, **options: Any) -> Problem:
    """The problem of this name, without rows to forget.

    Args:
        name: of PROBLEMS; see `Registry.read` for settings in it.
        data: the data folder, default the one that EXPUNGE_DATA names; digits needs none.
        options: settings of the problem, e.g. rows=500 for a trial.

    Raises:
        BadInput: see `Registry.read`; whatever the problem raises.
    """
    return PROBLEMS.make(name, options)(data)
