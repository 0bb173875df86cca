"""Hashes of rows: equal for equal rows, whatever is read beside them and in which order."""

import pytest
import torch

from expunge.contract.problems import blobs, generator
from expunge.data import DatasetData, Padding, TensorData
from expunge.data.fingerprints import fingerprints

X, Y = torch.arange(40.0).reshape(10, 4), torch.arange(10)


def test_fingerprints_find_copies_of_inputs_and_of_targets_apart():
    x, y = X.clone(), Y.clone()
    x[8], y[9] = x[2], y[3]
    found = fingerprints(TensorData(x, y), torch.arange(10))
    assert found.shape == (10, 2)
    assert found.dtype == torch.int64
    assert found[8, 0] == found[2, 0]
    assert found[8, 1] != found[2, 1]
    assert found[9, 1] == found[3, 1]
    assert len(found[:, 0].unique()) == len(found[:, 1].unique()) == 9


def test_fingerprints_are_of_the_rows_asked_for_in_their_order():
    data = blobs(2500, 1)  # more than are read at a time
    rows = torch.randperm(2500, generator=generator(0))[:2100]
    assert torch.equal(fingerprints(data, rows), fingerprints(data, torch.arange(2500))[rows])
    assert fingerprints(data, rows[:0]).shape == (0, 2)


def test_fingerprints_see_a_change_of_one_bit_of_shape_and_of_type():
    row = torch.tensor([0])
    zeros = torch.zeros(1, 4)
    others = [zeros, -zeros, zeros.reshape(1, 2, 2), zeros.half(), zeros.double(), zeros[:, :3]]
    hashes = {int(fingerprints(TensorData(x, row), row)[0, 0]) for x in others}
    assert len(hashes) == len(others)


def test_names_of_inputs_count_and_their_order_does_not():
    row, one, two = torch.tensor([0]), torch.ones(1, 3), torch.zeros(1, 3)

    def of(**inputs):
        return int(fingerprints(TensorData(inputs, row), row)[0, 0])

    assert of(a=one, b=two) == of(b=two, a=one)
    assert of(a=one, b=two) != of(a=two, b=one)
    assert of(a=one, b=two) != of(a=one, c=two)


def test_the_same_rows_from_a_data_set_have_the_same_fingerprints():
    rows = torch.arange(10)
    assert torch.equal(
        fingerprints(TensorData(X, Y), rows),
        fingerprints(DatasetData([(x, int(y)) for x, y in zip(X, Y, strict=True)]), rows),
    )


def texts(lengths, seed=0):
    g = generator(seed)
    return [
        ({"input_ids": torch.randint(1, 50, (n,), generator=g).tolist()}, k % 2)
        for k, n in enumerate(lengths)
    ]


@pytest.mark.parametrize("side", ["right", "left"])
def test_fingerprints_of_padded_rows_depend_on_no_neighbour(side):
    rows = texts([3, 9, 1, 5, 30, 2, 7])
    data = DatasetData(rows, collate=Padding(0, side=side))
    found = fingerprints(data, torch.arange(7))
    order = torch.tensor([4, 2, 6, 0])
    assert torch.equal(fingerprints(data, order), found[order])
    for row in range(7):
        assert torch.equal(fingerprints(data, torch.tensor([row])), found[row : row + 1])
    shorter = DatasetData([rows[k] for k in (0, 2, 5)], collate=Padding(0))
    assert torch.equal(fingerprints(shorter, torch.arange(3)), found[[0, 2, 5]])


def test_fingerprints_of_padded_rows_do_not_depend_on_the_side_or_on_what_fills_them():
    rows = texts([3, 9, 1])
    kinds = [Padding(0), Padding(7), Padding(0, side="left")]
    first, *others = (
        fingerprints(DatasetData(rows, collate=kind), torch.arange(3)) for kind in kinds
    )
    assert all(torch.equal(first, other) for other in others)


def test_a_token_more_or_less_is_another_row_even_where_it_is_the_padding_token():
    rows = [({"input_ids": tokens}, 0) for tokens in ([5, 6], [5, 6, 0], [0, 5, 6], [5, 6])]
    found = fingerprints(DatasetData(rows, collate=Padding(0)), torch.arange(4))[:, 0]
    assert len(found.unique()) == 3
    assert found[0] == found[3]
