"""Kernels that derivatives and `torch.func.vmap` can follow, in the place of fused ones.

Fused kernels are faster and know only a plain backward pass. Inside these contexts torch takes its
own steps; on exit every switch is as before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.errors import BadInput, first_line


@contextmanager
def no_fast_path() -> Iterator[None]:
    """Inside, `nn.TransformerEncoder` runs the layers it is made of, not one kernel for all."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def stepwise_attention() -> Iterator[None]:
    """Inside, attention is matrix products and a softmax, which have derivatives of every kind."""
    with no_fast_path(), sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def stepwise_recurrence(module: nn.Module) -> Iterator[None]:
    """Inside, LSTMs and other recurrent layers have forward derivatives; other modules stay."""
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    places: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn] if recurrent else []
    before = [place.enabled for place in places]
    try:
        for place in places:
            place.enabled = False
        yield
    finally:
        for place, enabled in zip(places, before, strict=True):
            place.enabled = enabled


@contextmanager
def forward_derivative_needed(module: nn.Module, what: str, fix: str) -> Iterator[None]:
    """Turn torch's refusal of a forward derivative inside into words.

    Args:
        module: the model.
        what: needs the derivative, e.g. "this attribution".
        fix: what serves such a model.

    Raises:
        BadInput: the module has no forward derivative.
    """
    try:
        yield
    except NotImplementedError as error:
        parts = {type(part).__name__ for part in module.modules() if not any(part.children())}
        raise BadInput(
            f"a model of {', '.join(sorted(parts))}, which {what} cannot linearise "
            f"({first_line(error)})",
            expected="layers with a forward derivative; nn.EmbeddingBag (unlike nn.Embedding and a "
            "sum) and fused kernels called by name have none",
            fix=fix,
        ) from error
