"""verification_error(): distances in weights, by hand."""

import pytest
import torch

from expunge.audit.metrics.verification_error import verification_error
from expunge.errors import BadInput


def two(first=1.0):
    return {"a": torch.tensor([[first, 2.0], [0.0, 0.0]]), "b": torch.tensor([5.0, 6.0])}


def test_it_is_the_euclidean_distance_whole_and_of_each_parameter():
    a = {"a": torch.tensor([[1.0, 2.0], [0.0, 0.0]]), "b": torch.tensor([2.0, 6.0])}
    b = {"a": torch.tensor([[1.0, 6.0], [0.0, 0.0]]), "b": torch.tensor([5.0, 7.0])}
    found = verification_error(a, b)
    assert found.layers["a"].tolist() == [4.0, 0.0]
    assert found.layers["b"].tolist() == [3.0, 1.0]
    assert found.whole.tolist() == [5.0, 1.0]
    assert found.whole.dtype == torch.float64


def test_it_is_the_same_both_ways_and_nothing_to_itself():
    g = torch.Generator().manual_seed(0)
    a, b = ({"w": torch.randn(4, 3, 2, generator=g)} for _ in range(2))
    assert torch.equal(verification_error(a, b).whole, verification_error(b, a).whole)
    assert verification_error(a, a).whole.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"a": torch.zeros(2, 2)}, "that only one side has: b"),
        ({**two(), "c": torch.zeros(2)}, "that only one side has: c"),
        ({**two(), "b": torch.zeros(3)}, r"'b' of shapes \(2,\) and \(3,\)"),
        (two(float("nan")), "'a' holds NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, match):
    with pytest.raises(BadInput, match=match):
        verification_error(two(), other)


def test_no_weights_at_all_are_refused():
    with pytest.raises(BadInput, match="none at all"):
        verification_error({}, {})
