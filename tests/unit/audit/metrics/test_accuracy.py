import pytest
import torch

from expunge.audit.evidence.margin import margins
from expunge.audit.metrics.accuracy import absolute_error, accuracy
from expunge.errors import BadInput


def test_counts_rows_whose_largest_output_is_the_truth():
    z = torch.tensor([[[3.0, 1, 0], [0, 1, 2]], [[1.0, 3, 0], [0, 2, 1]]])
    assert accuracy(z, torch.tensor([0, 2])).tolist() == [1, 0]
    assert accuracy(z, torch.tensor([0, 1])).tolist() == [0.5, 0.5]
    assert accuracy(torch.zeros(1, 2, 3), torch.tensor([0, 1])).tolist() == [0.5]


def test_a_model_can_be_right_with_a_negative_margin():
    z, y = torch.tensor([[[1.0, 0.9, 0.9]]]), torch.tensor([0])
    assert margins(z, y, "classification").item() < 0
    assert accuracy(z, y).item() == 1


def test_error_is_the_mean_absolute_margin():
    assert absolute_error(torch.tensor([[1.0, -3.0], [0.0, 0.5]])).tolist() == [2, 0.25]


def test_wrong_shapes_are_refused():
    with pytest.raises(BadInput, match="accuracy cannot be told from margins"):
        accuracy(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(BadInput, match=r"targets of \(4,\)"):
        accuracy(torch.zeros(2, 3, 2), torch.zeros(4))
    with pytest.raises(BadInput, match="signed errors"):
        absolute_error(torch.zeros(2, 3, 1))
