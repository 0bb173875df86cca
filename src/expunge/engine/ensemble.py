"""Ensemble: members of one architecture, run one by one or in groups."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from expunge.data import Batch, Data, walk
from expunge.engine.kernels import no_fast_path
from expunge.errors import BadInput
from expunge.problem import Task
from expunge.rng import Draws

LARGEST_GROUP = 50
EVAL_DRAWS = Draws((0, "judging"))  # the same for every model, so that only the models differ


class Models(Protocol):
    """Whatever can be judged: it has outputs."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Member numbers."""
        ...

    def outputs(self, task: Task, data: Data, rows: Tensor) -> Tensor:
        """(members, rows, C) on the CPU, models in evaluation mode."""
        ...


class StorableModels(Models, Protocol):
    """What a training makes: models that the store keeps."""

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All that the store keeps of them, (members, ...) by name, detached."""
        ...

    def to(self, device: str | torch.device) -> "StorableModels":
        """The same members on a device."""
        ...


class Ensemble:
    """Models of one architecture, each with a number that its random draws depend on.

    An ensemble of one holds the user's module itself. A larger one stacks parameters and
    buffers, member axis first; frozen parameters that are equal in all members are shared. It
    runs in groups of `group` members by `torch.func.vmap`; a group of one is the plain module.
    """

    def __init__(
        self,
        template: nn.Module,
        stacked: Mapping[str, Tensor] | None = None,
        *,
        ids: Sequence[int] = (0,),
        group: int = 1,
    ) -> None:
        self.template, self.stacked = template, None if stacked is None else dict(stacked)
        self.ids, self.group = tuple(ids), group

    @classmethod
    def of(cls, module: nn.Module, member: int = 0) -> "Ensemble":
        """An ensemble of one: the module itself, not a copy."""
        return cls(module, ids=(member,))

    @classmethod
    def stack(cls, modules: Sequence[nn.Module], ids: Sequence[int], group: int) -> "Ensemble":
        """An ensemble of these modules' weights; of one module, the module itself."""
        if len(modules) == 1:
            return cls(modules[0], ids=ids, group=group)
        states = [_state(module) for module in modules]
        frozen = {n for n, p in modules[0].named_parameters() if not p.requires_grad}
        linear = {
            f"{name}.weight" for name, part in modules[0].named_modules() if type(part) is nn.Linear
        }
        stacked = {}
        for name, first in states[0].items():
            values = [state[name].detach() for state in states]
            if name in frozen and all(torch.equal(first, value) for value in values):
                continue
            trainable = isinstance(first, nn.Parameter) and first.requires_grad
            joined = torch.stack(values)
            if name in linear:  # lies as the products read it and as its gradient comes
                joined = joined.mT.contiguous().mT
            stacked[name] = joined.requires_grad_(trainable)
        return cls(copy.deepcopy(modules[0]), stacked, ids=ids, group=group)

    @classmethod
    def load(
        cls, template: nn.Module, tensors: Mapping[str, Tensor], ids: Sequence[int], group: int
    ) -> "Ensemble":
        """The inverse of `tensors`: member weights put into copies of a template."""
        members = []
        for k in range(len(ids)):
            member = copy.deepcopy(template)
            with torch.no_grad():
                for name, own in _state(member).items():
                    own.copy_(tensors[name][k])
            members.append(member)
        return cls.stack(members, ids, group)

    @classmethod
    def concat(cls, parts: Sequence["Ensemble"]) -> "Ensemble":
        """One ensemble of the members of several, in their order."""
        if len(parts) == 1:
            return parts[0]
        ids = [member for part in parts for member in part.ids]
        return cls.stack([m for part in parts for m in part.modules()], ids, parts[0].group)

    def __len__(self) -> int:
        return len(self.ids)

    def tensors(self) -> dict[str, Tensor]:
        """All parameters and buffers, (members, ...), detached; for keeping and for digests."""
        state, n = _state(self.template), len(self)
        if self.stacked is None:
            return {name: t.detach()[None] for name, t in state.items()}
        return {
            name: self.stacked[name].detach()
            if name in self.stacked
            else t.detach().expand(n, *t.shape)
            for name, t in state.items()
        }

    def weights(self) -> dict[str, Tensor]:
        """The trainable parameters: of the plain module, or stacked (members, ...)."""
        if self.stacked is None:
            return {n: p for n, p in self.template.named_parameters() if p.requires_grad}
        return {n: t for n, t in self.stacked.items() if t.requires_grad}

    def modules(self) -> Iterator[nn.Module]:
        """Each member as a module of its own (of an ensemble of one: the module itself)."""
        if self.stacked is None:
            yield self.template
            return
        for k in range(len(self)):
            module = copy.deepcopy(self.template)
            with torch.no_grad():
                for name, own in _state(module).items():
                    if name in self.stacked:
                        own.copy_(self.stacked[name][k])
            yield module

    def groups(self) -> Iterator["Ensemble"]:
        """Independent copies of consecutive blocks of at most `group` members."""
        if self.stacked is None:
            yield Ensemble(independent(self.template), ids=self.ids, group=self.group)
            return
        modules = list(self.modules()) if self.group == 1 else []
        for start in range(0, len(self), self.group):
            ids = self.ids[start : start + self.group]
            if modules:
                yield Ensemble(modules[start], ids=ids, group=1)
                continue
            part = {
                name: t.detach()[start : start + self.group].clone().requires_grad_(t.requires_grad)
                for name, t in self.stacked.items()
            }
            yield Ensemble(copy.deepcopy(self.template), part, ids=ids, group=self.group)

    def to(self, device: str | torch.device) -> "Ensemble":
        """The same members on a device; itself if they are there already.

        A module whose parts lie on several devices stays as its user placed it.
        """
        placed = (
            self.stacked is None and len({t.device for t in _state(self.template).values()}) > 1
        )
        if self.device == torch.device(device) or placed:
            return self
        stacked = self.stacked and {
            n: t.detach().to(device).requires_grad_(t.requires_grad)
            for n, t in self.stacked.items()
        }
        template = independent(self.template).to(device)
        return Ensemble(template, stacked, ids=self.ids, group=self.group)

    @property
    def device(self) -> torch.device:
        """Where the members lie."""
        return next((t.device for t in _state(self.template).values()), torch.device("cpu"))

    @contextmanager
    def mode(self, training: bool) -> Iterator[None]:
        """Training or evaluation mode inside; each submodule's own mode again on exit."""
        before = {name: module.training for name, module in self.template.named_modules()}
        self.template.train(training)
        try:
            yield
        finally:
            for name, module in self.template.named_modules():
                module.training = before[name]

    def each(self, function: Callable[..., Tensor], *feeds: Any) -> Tensor:
        """`function(model, *feeds)` for every member of one group, stacked (members, ...).

        A feed is a Batch, other rows for each member if its rows are (K, B), or a tree of
        tensors (K, ...) with one entry a member.
        """
        own = [not isinstance(feed, Batch) or feed.rows.ndim == 2 for feed in feeds]
        if self.stacked is None:
            one = [tree_map(lambda t: t[0], f) if o else f for f, o in zip(feeds, own, strict=True)]
            return function(self.template, *one)[None]

        def member(state: dict[str, Tensor], *feeds: Any) -> Tensor:
            def model(*args: Any, **kwargs: Any) -> Any:
                return functional_call(self.template, state, args, kwargs)

            return function(model, *feeds)

        dims = (0, *(0 if o else None for o in own))
        with no_fast_path():  # of which vmap knows nothing
            return vmap(member, in_dims=dims)(self.stacked, *feeds)

    def outputs(self, task: Task, data: Data, rows: Tensor) -> Tensor:
        """(members, rows, C) on the CPU, in evaluation mode.

        Raises:
            BadInput: outputs that do not fit the task, or that hold NaN or infinity.
        """
        parts = [self] if self.stacked is None or len(self) <= self.group else self.groups()
        found = []
        for part in parts:
            pieces = []
            with part.mode(training=False), torch.no_grad():
                for batch in data.batches(walk(rows.to(self.device))):
                    ready = task.prepare(batch, EVAL_DRAWS.by_row(batch.rows), training=False)
                    pieces.append(part.each(lambda m, b: task.outputs(m, b), ready))
                    task.check(pieces[-1][0], ready)
            found.append(torch.cat(pieces, dim=1).float().cpu())
        outputs = torch.cat(found)
        bad = ~outputs.isfinite().all(-1)
        if bad.any():
            member, row = bad.nonzero()[0].tolist()
            raise BadInput(
                f"the outputs of member {self.ids[member]} hold NaN or infinity, first at row "
                f"{rows[row].item()}",
                expected="finite outputs",
                fix="lower the learning rate, or repair the model's weights",
            )
        return outputs


def independent(module: nn.Module) -> nn.Module:
    """A deep copy that shares nothing with the module.

    A method that is wrapped on the module itself, as accelerate does with `to`, would go on acting
    on the original; the copy has the plain one.
    """
    made = copy.deepcopy(module)
    for name, value in list(vars(made).items()):
        if getattr(getattr(value, "__wrapped__", None), "__self__", None) is module:
            delattr(made, name)
    return made


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, tied ones once, those not kept in checkpoints included."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
