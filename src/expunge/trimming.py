"""A traced step without what it does in vain: the same bits from fewer and smaller operations.

vmap and autograd leave many operations that give their input as it is (a view of the same shape, a
product with 1), which cost Python as much as others; and a sum, a relu or its derivative may be
written over an input that nobody reads again, which spares memory. No order of any sum changes.
"""

from typing import Any

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten

SAME_MEMORY = {  # give what they are given, where shape and strides stay
    *(aten.detach.default, aten.alias.default, aten.expand.default),
    *(aten.view.default, aten._unsafe_view.default),
}
FRESH = {  # what they give lies in memory of its own
    *(aten.bmm.default, aten.mm.default, aten.convolution.default),
    *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor),
}


def trimmed(traced: GraphModule) -> GraphModule:
    """The same module, changed in place."""
    nodes = traced.graph.nodes
    for node in list(nodes):
        if _idle(node):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    fresh = {node for node in nodes if node.target in FRESH}  # and so it stays
    for node in nodes:
        _over_an_input(node, fresh)
    traced.recompile()
    return traced


def _idle(node: Node) -> bool:
    """Whether a node gives its first argument as it is."""
    if node.target is aten.mul.Scalar and node.args[1] == 1:
        made = node.args[0]
        return isinstance(made, Node) and _root(made).op == "call_function" and _alike(node, made)
    return node.target in SAME_MEMORY and _alike(node, node.args[0])


def _root(node: Node) -> Node:
    """The node in whose memory this one lies, as far as views are known."""
    while node.target in SAME_MEMORY and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def _alike(one: Any, other: Any) -> bool:
    """Whether both are tensors of one shape, layout and type."""
    metas = [n.meta.get("tensor_meta") if isinstance(n, Node) else None for n in (one, other)]
    a, b = metas
    if a is None or b is None or not hasattr(a, "shape") or not hasattr(b, "shape"):
        return False
    return (a.shape, a.stride, a.dtype) == (b.shape, b.stride, b.dtype)


def _over_an_input(node: Node, fresh: set[Node]) -> None:
    """Let an elementwise node write over an input that is fresh and that nobody else reads."""
    free = [a for a in node.args if _last_read(a, node, fresh)]
    if node.target is aten.relu.default and free:
        node.target = aten.relu_.default
    elif node.target is aten.add.Tensor and free and not node.kwargs:
        others = [a for a in node.args if a is not free[0]]
        node.args = (free[0], *others)
        node.target = aten.add_.Tensor
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
