"""Kernels: what torch takes its own steps for inside, and that every switch is put back."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp

from expunge.contract.fixtures import global_state
from expunge.engine.kernels import (
    forward_derivative_needed,
    no_fast_path,
    stepwise_attention,
    stepwise_recurrence,
)
from expunge.errors import BadInput
from expunge.rng import seeded


def slope(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    weights = {name: p.detach() for name, p in module.named_parameters()}

    def outputs(weights):
        return functional_call(module, weights, inputs)[0]

    return jvp(outputs, (weights,), (weights,))[1]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x):
        q = self.mix(x)[:, None]  # one head: fused kernels take four axes
        return (nn.functional.scaled_dot_product_attention(q, q, q),)


BIG = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
with seeded(0):
    ATTENTION, LSTM = Attention(), nn.LSTM(4, 3, batch_first=True)
CASES = {"attention": (ATTENTION, stepwise_attention), "lstm": (LSTM, stepwise_recurrence)}


@pytest.mark.parametrize(("module", "kernels"), CASES.values(), ids=CASES)
def test_forward_derivatives_exist_inside_and_not_outside(module, kernels):
    given = (module,) if kernels is stepwise_recurrence else ()
    with pytest.raises(NotImplementedError):
        slope(module, BIG)
    with kernels(*given):
        assert slope(module, BIG).isfinite().all()
    with pytest.raises(NotImplementedError):
        slope(module, BIG)


def test_every_switch_is_put_back_also_after_an_error():
    before = global_state()["kernels"]
    for kernels in (no_fast_path, stepwise_attention, lambda: stepwise_recurrence(LSTM)):
        with pytest.raises(KeyError, match="True"), kernels():
            raise KeyError(global_state()["kernels"] != before)
        assert global_state()["kernels"] == before


def test_modules_without_recurrence_keep_their_kernels():
    before = global_state()["kernels"]
    with stepwise_recurrence(nn.Sequential(nn.ReLU())):
        assert global_state()["kernels"] == before


def test_the_refusal_of_a_derivative_is_put_into_words():
    told = (
        "a model of LSTM, which this cannot linearise .*mkldnn_rnn_layer.*EmbeddingBag.*take that"
    )
    with pytest.raises(BadInput, match=told), forward_derivative_needed(LSTM, "this", "take that"):
        slope(LSTM, BIG)


def test_a_refusal_without_words_goes_by_its_kind():
    with (
        pytest.raises(BadInput, match=r"cannot linearise \(NotImplementedError\)"),
        forward_derivative_needed(ATTENTION, "this attribution", "choose another"),
    ):
        raise NotImplementedError
