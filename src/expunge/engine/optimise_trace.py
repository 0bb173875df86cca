"""A traced step without what it does in vain: the same bits from fewer and smaller operations.

vmap and autograd leave many operations that give their input as it is (a view of the same shape, a
product with 1) or the same at every step (zeros to scatter into, the gradient of a mean), which
cost Python as much as others; and a sum, a relu or its derivative may be written over an input that
nobody reads again, which spares memory. No order of any sum changes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from expunge.engine.trace import Layout, Trace, memory, writes

aten = torch.ops.aten

SAME_MEMORY = {  # give what they are given, where shape and strides stay
    *(aten.detach.default, aten.alias.default, aten.expand.default),
    *(aten.view.default, aten._unsafe_view.default),
}
FRESH = {  # what they give lies in memory of its own
    *(aten.bmm.default, aten.mm.default, aten.convolution.default),
    *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor),
}
OVER: dict[Any, Any] = {  # elementwise, and their twins that write over their first argument
    aten.add.Tensor: aten.add_.Tensor,
    aten.sub.Tensor: aten.sub_.Tensor,
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.div.Tensor: aten.div_.Tensor,
    aten.relu.default: aten.relu_.default,
}
LIKE = {  # of their first argument read the shape and type only, or the type only
    *(aten.ones_like.default, aten.zeros_like.default, aten.full_like.default),
    *(aten.new_zeros.default, aten.new_ones.default, aten.new_full.default),
}
MADE = {  # of numbers only; a copy to another type is made of a number, too: `_to_copy(1.0)`
    *(aten.scalar_tensor.default, aten.full.default, aten.zeros.default, aten.ones.default),
    aten._to_copy.default,
}
LARGEST = 2**16  # numbers of a constant that is kept and not made again at every step


def trimmed(trace: Trace) -> Trace:
    """The same trace, changed in place."""
    nodes = trace.graph.nodes
    for node in list(nodes):
        if _idle(node):
            node.replace_all_uses_with(node.args[0])
            trace.graph.erase_node(node)
    _keep_constants(trace)
    trace.graph.eliminate_dead_code()
    fresh = {node for node in nodes if node.target in FRESH}  # and so it stays
    for node in nodes:
        _over_an_input(node, fresh)
    return trace


def _idle(node: Node) -> bool:
    """Whether a node gives its first argument as it is."""
    given = node.args[0] if node.args else None
    if not isinstance(given, Node) or not _alike(node, given):
        return False
    if node.target is aten.mul.Scalar and node.args[1] == 1:  # a copy, unless nobody can tell
        return _root(given).op == "call_function" or _only_read(node)
    return node.target in SAME_MEMORY


def _only_read(node: Node) -> bool:
    """Whether nobody writes into the memory of a node, or keeps it after the step."""
    # the end of the trace, which is no operation, hands out what it reads
    return not any(writes(u.target) or (_views(u) and not _only_read(u)) for u in node.users)


def _views(node: Node) -> bool:
    return node.target in SAME_MEMORY or getattr(node.target, "is_view", True)


def _root(node: Node) -> Node:
    """The node in whose memory this one lies, as far as views are known."""
    while node.target in SAME_MEMORY and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def _alike(one: Any, other: Any) -> bool:
    """Whether both are tensors of one shape, layout and type."""
    layouts = [n.meta.get("layout") if isinstance(n, Node) else None for n in (one, other)]
    return layouts[0] is not None and layouts[0] == layouts[1]


def _keep_constants(trace: Trace) -> None:
    """Replace what is the same at every step by a tensor that is kept."""
    nodes, values, written = list(trace.graph.nodes), dict[Node, Tensor](), set[int]()
    for node in nodes:
        if node.op != "call_function":
            continue
        if writes(node.target):
            written |= {memory(values[one]) for one in node.all_input_nodes if one in values}
        elif (found := _constant(node, values)) is not None:
            values[node] = found
        elif _views(node):  # of which it is not known who writes into it
            written |= {memory(values[one]) for one in node.all_input_nodes if one in values}
    for node, value in list(values.items()):  # nor is constant what is read out of such memory
        if memory(value) in written or any(one not in values for one in _read(node)):
            del values[node]
    for node, value in values.items():
        if all(user in values for user in node.users):
            continue
        name = f"kept_{node.name}"
        trace.constants.register_buffer(name, value)
        with trace.graph.inserting_before(node):
            kept = trace.graph.get_attr(name)
        kept.meta |= node.meta
        node.replace_all_uses_with(kept)


def _constant(node: Node, values: dict[Node, Tensor]) -> Tensor | None:
    """What a node gives at every step, where it depends on no input."""
    layout, target = node.meta.get("layout"), node.target
    if not isinstance(layout, Layout) or layout.shape.numel() > LARGEST or not callable(target):
        return None
    read = _read(node)
    random = torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())
    if random or not (read or target in LIKE | MADE) or any(one not in values for one in read):
        return None

    def value(one: Node) -> Tensor:
        return values[one] if read else one.meta["layout"].empty()

    args, kwargs = map_arg((node.args, node.kwargs), value)
    return target(*args, **kwargs)


def _read(node: Node) -> list[Node]:
    """The nodes whose numbers a node depends on."""
    return [] if node.target in LIKE else node.all_input_nodes


def _over_an_input(node: Node, fresh: set[Node]) -> None:
    """Let an elementwise node write over an input that is fresh and that nobody else reads."""
    free = [a for a in node.args if _last_read(a, node, fresh)]
    if node.target in OVER and free and not node.kwargs:
        others = [a for a in node.args if a is not free[0]]
        if node.target is aten.add.Tensor:
            node.args = (free[0], *others)
        elif free[0] is not node.args[0]:
            return
        node.target = OVER[node.target]
    elif node.target is aten.threshold_backward.default and free and free[0] is node.args[0]:
        node.target = aten.threshold_backward.grad_input
        node.kwargs = {"grad_input": free[0]}


def _last_read(given: Any, node: Node, fresh: set[Node]) -> bool:
    return (
        isinstance(given, Node)
        and given in fresh
        and list(given.users) == [node]
        and list(node.args).count(given) == 1
        and _alike(given, node)
    )
