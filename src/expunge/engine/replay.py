"""The gradient of a group's objective, traced at one step and replayed at the others.

vmap and autograd find out at every step which operations to run, which for small models takes as
long as the operations. Batches of a training have one shape, so a step runs what the step before
ran; traced, it is a flat list of operations on plain tensors, with the same bits.
Source of the technique: Reed et al. 2021, torch.fx, arXiv 2112.08429.

A trace knows nothing of Python that ran beside it: a counter, a branch on numbers. So it is made
only of objectives that are said to depend on nothing but model and feed, and is used only if at the
next step, on other rows, it gave what the objective gave, to the last bit. Ever more rarely a later
step is computed both ways too, and whoever promised too much is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from expunge.engine.ensemble import Ensemble
from expunge.engine.optimise_trace import trimmed
from expunge.engine.trace import memory, traced
from expunge.errors import BadInput

LEAST = 40  # steps of a run; with fewer the trace takes as long as it spares
SHAPES = 4  # kinds of batches that have a trace each; SCRUB has two
# of what bears no dispatch mode; whatever else goes wrong is raised again when it is computed
REFUSALS = (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError)


@dataclass
class Step:
    """A step that was written down, for feeds of the same shapes."""

    shapes: Any
    graph: Callable[..., Any]
    trusted: bool = False
    borrowed: Sequence[bool] = ()  # gradients that lie in memory which is not theirs
    replayed: int = 0
    look: int = 4  # how many were replayed when one is looked at


class Gradients:
    """Leaves the gradient of the sum over members of an objective in the weights, step by step."""

    def __init__(self, models: Ensemble, objective: Callable[..., Tensor], replays: bool) -> None:
        """The objective is as `descend` takes it; without `replays` every step is computed."""
        self.models, self.objective = models, objective
        self._hopeful = replays and models.stacked is not None
        weights = models.weights()
        self._weights = list(weights.values())
        self._state = {n: t for n, t in (models.stacked or {}).items() if n not in weights}
        self._steps: list[Step] = []

    def __call__(self, *feed: Any) -> None:
        """One step: the weights' `grad` is set, buffers such as batch norm's are moved on."""
        if not self._hopeful:
            self._compute(feed)
            return
        leaves, spec = tree_flatten(feed)
        shapes = spec, [_shape(leaf) for leaf in leaves], _repeated(leaves)
        step = next((one for one in self._steps if one.shapes == shapes), None)
        if step is None and len(self._steps) < SHAPES:
            self._record(feed, leaves, shapes)
        elif step is None:
            self._compute(feed)
        elif step.trusted and step.replayed + 1 < step.look:
            step.replayed += 1
            self._take(self._run(step, leaves), step.borrowed)
        else:
            self._look(step, feed, leaves)

    def _compute(self, feed: tuple[Any, ...]) -> None:
        self.models.each(self.objective, *feed).sum().backward()

    def _record(self, feed: tuple[Any, ...], leaves: list[Any], shapes: Any) -> None:
        """One step, computed and written down."""
        weights = self.models.weights()
        values = [w.detach() for w in weights.values()]

        def gradient() -> tuple[Tensor | None, ...]:
            with torch.enable_grad():
                own = [value.requires_grad_() for value in values]
                stacked = {**dict(zip(weights, own, strict=True)), **self._state}
                ids, group = self.models.ids, self.models.group
                twin = Ensemble(self.models.template, stacked, ids=ids, group=group)
                losses = twin.each(self.objective, *feed)
                return torch.autograd.grad(losses.sum(), own, allow_unused=True)

        before = [t.clone() for t in self._state.values()]
        try:
            found, trace = traced(gradient, [*values, *self._state.values(), *_tensors(leaves)])
        except REFUSALS:
            for tensor, value in zip(self._state.values(), before, strict=True):
                tensor.copy_(value)
            self._hopeful = False
            self._compute(feed)
            return
        self._hopeful = trace is not None
        if trace is not None:
            self._steps.append(Step(shapes, trimmed(trace).compiled().forward))
        for weight, grad in zip(self._weights, found, strict=True):
            weight.grad = None if grad is None else grad.clone()

    def _look(self, step: Step, feed: tuple[Any, ...], leaves: list[Any]) -> None:
        """One step, computed and replayed; the first of its shapes must agree to the last bit."""
        found = self._rehearse(step, leaves)
        self._compute(feed)
        if not step.trusted:
            self._hopeful = step.trusted = self._same(*found)
            return
        step.replayed += 1
        step.look *= 4
        self._require_close(step, *found)

    def _run(
        self, step: Step, leaves: list[Any], state: list[Tensor] | None = None
    ) -> list[Tensor | None]:
        values = [w.detach() for w in self._weights]
        buffers = self._state.values() if state is None else state
        with torch.no_grad():
            return step.graph(*values, *buffers, *_tensors(leaves))

    def _rehearse(self, step: Step, leaves: list[Any]) -> tuple[list[Tensor | None], list[Tensor]]:
        """What the trace says of this step, on copies of what it changes."""
        copies = [t.clone() for t in self._state.values()]
        found = self._run(step, leaves, copies)
        again = self._run(step, leaves, [t.clone() for t in self._state.values()])
        constants = [one for one in again if one is not None]  # they are the same twice
        taken: set[int | None] = {
            memory(t) for t in (*self._weights, *copies, *_tensors(leaves), *constants)
        }
        step.borrowed = []
        for grad in found:  # weights that are added to one another have the same gradient
            place = None if grad is None else memory(grad)
            step.borrowed.append(grad is not None and (place in taken or not _dense(grad)))
            taken.add(place)
        return found, copies

    def _same(self, found: list[Tensor | None], state: list[Tensor]) -> bool:
        pairs = self._pairs(found, state)
        return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)

    def _pairs(
        self, found: list[Tensor | None], state: list[Tensor]
    ) -> list[tuple[Tensor | None, Tensor | None]]:
        """What the step that was computed left, beside what the trace says."""
        grads = [w.grad for w in self._weights]
        return list(zip([*grads, *self._state.values()], [*found, *state], strict=True))

    def _require_close(self, step: Step, found: list[Tensor | None], state: list[Tensor]) -> None:
        for now, again in self._pairs(found, state):
            if not _close(now, again):
                raise BadInput(
                    "the trace of the objective, which was right before, is wrong at step "
                    f"{step.replayed} after that",
                    expected="an objective that depends on nothing but the model and its batches",
                    fix="hand numbers that change from step to step over with the batches "
                    "(`feed`), or call `finetune` with replayable=False",
                )

    def _take(self, found: Sequence[Tensor | None], borrowed: Sequence[bool]) -> None:
        for weight, grad, copied in zip(self._weights, found, borrowed, strict=True):
            weight.grad = grad.clone() if grad is not None and copied else grad


def _close(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tensors are the same but for rounding: some kernels of GPUs repeat no bits."""
    if one is None or other is None:
        return one is other
    if not one.is_floating_point() or not one.numel():
        return torch.equal(one, other)
    if not (one.isfinite().all() and other.isfinite().all()):
        return True  # a training that diverged, of which `descend` tells
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def _tensors(leaves: list[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _repeated(leaves: list[Any]) -> list[int | None]:
    """Where each tensor stands first: of one that is handed over twice a trace knows one place."""
    places: dict[int, int] = {}
    return [
        places.setdefault(id(leaf), k) if isinstance(leaf, Tensor) else None
        for k, leaf in enumerate(leaves)
    ]


def _shape(leaf: Any) -> Any:
    """What a trace takes for granted of a part of a feed; numbers are traced as they are."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype, leaf.device, leaf.stride()
    return leaf


def _dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense(tensor)
