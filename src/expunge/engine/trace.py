"""A function's tensor operations, written down while it runs, for doing them again.

vmap and autograd decide at every call which operations to run. All of them pass a dispatch mode on
their way, below vmap, as operations on plain tensors; a list of them does the same to other tensors
of the same shapes. Nothing else is seen: what Python decides stays as it was decided.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten

UNFORESEEN = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
# write into statistics that they are handed, of which their schemas say nothing
UNTOLD = {aten.native_batch_norm.default, aten.cudnn_batch_norm.default}


class Layout(NamedTuple):
    """How a tensor lies in its memory."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device

    def empty(self) -> Tensor:
        """A tensor that lies so, of any numbers."""
        kind: Any = {"dtype": self.dtype, "device": self.device}
        return torch.empty_strided(self.shape, self.stride, **kind)


class Trace(NamedTuple):
    """Operations in their order; each node has its tensor's `Layout` in `meta["layout"]`."""

    graph: Graph
    constants: nn.Module  # whose attributes the graph reads

    def compiled(self) -> GraphModule:
        """A module that does these operations to the inputs that it is called with."""
        return GraphModule(self.constants, self.graph)


def traced(
    function: Callable[[], Sequence[Tensor | None]], inputs: Sequence[Tensor]
) -> tuple[Sequence[Tensor | None], Trace | None]:
    """What a function of these tensors returns, and the operations that it did.

    The function runs once, with all that it changes. Tensors that are neither among the inputs nor
    made by an operation are constants of the trace. There is no trace of a function that decides by
    numbers, that works with sparse tensors, or that writes into a constant: a counter of its own.
    """
    writer = Writer(inputs)
    with writer:
        found = function()
    if writer.lost:
        return found, None
    writer.graph.output([None if one is None else writer.node(one) for one in found])
    return found, Trace(writer.graph, writer.constants)


class Writer(TorchDispatchMode):
    """Writes down every operation that is done while it is active."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.graph, self.constants = Graph(), nn.Module()
        self.nodes: Any = WeakTensorKeyDictionary()  # of tensors; they may die meanwhile
        self.outside = set[int]()  # memory of constants
        self.lost = False  # whether something was done that cannot be written down
        for k, tensor in enumerate(inputs):
            self._made(tensor, self.graph.placeholder(f"input_{k}"))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation, and write it down."""
        given: Any = (args, kwargs or {})
        written = None if self.lost else map_aggregate(given, self._written)
        result = func(*args, **(kwargs or {}))
        self.lost |= unforeseen(func, args) or (writes(func) and self._reads_outside(given))
        if written is not None:
            self._made(result, self.graph.call_function(func, *written))
        return result

    def node(self, tensor: Tensor) -> Node:
        """Where a tensor was made."""
        if tensor not in self.nodes:
            name = f"constant_{len(list(self.constants.buffers()))}"
            self.constants.register_buffer(name, tensor)
            made = self.graph.get_attr(name)
            self._made(tensor, made)
            if self.lost:  # a sparse one
                return made
            self.outside.add(memory(tensor))
        return self.nodes[tensor]

    def _reads_outside(self, given: Any) -> bool:
        tensors = [t for t in tree_leaves(given) if isinstance(t, Tensor)]
        strided = [t for t in tensors if t.layout is torch.strided]
        return any(memory(t) in self.outside for t in strided)

    def _written(self, given: Any) -> Any:
        return self.node(given) if isinstance(given, Tensor) else given

    def _made(self, result: Any, node: Node) -> None:
        if isinstance(result, Tensor) and result.layout is not torch.strided:
            self.lost = True
        elif isinstance(result, Tensor):
            place = result.shape, result.stride(), int(result.storage_offset())
            node.meta["layout"] = Layout(*place, result.dtype, result.device)
            self.nodes[result] = node
        elif isinstance(result, tuple | list):
            for k, part in enumerate(result):
                self._made(part, self.graph.call_function(operator.getitem, (node, k)))


def unforeseen(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether numbers decide what an operation gives, or of what shape."""
    if func is aten.index.Tensor:  # by truths they do, by row numbers they do not
        kinds = {one.dtype for one in args[1] if one is not None}
        return not kinds <= {torch.int32, torch.int64}
    return not UNFORESEEN.isdisjoint(func.tags)


def memory(tensor: Tensor) -> int:
    """Where a tensor's memory begins; that of its views, too."""
    return tensor.untyped_storage().data_ptr()


def writes(func: Any) -> bool:
    """Whether an operation may write into what it is handed, as far as it is known."""
    schema = getattr(func, "_schema", None)
    return schema is None or schema.is_mutable or func in UNTOLD
