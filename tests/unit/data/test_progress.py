"""metered(): the same data, and a bar of what was read where that takes a while."""

import pytest
import torch

from expunge.data import DatasetData, TensorData, walk
from expunge.data import progress as meter
from expunge.data.progress import with_progress
from expunge.errors import BadInput

X, Y = torch.arange(40.0).reshape(10, 4), torch.arange(10)
ITEMS = [(x, int(y)) for x, y in zip(X, Y, strict=True)]


@pytest.fixture
def moves(monkeypatch):
    """What the bar was told: its label and total, then each move."""
    told = []

    class Bar:
        def __init__(self, label, total, show):
            told.append((label, total, show))

        def __enter__(self):
            return told.append

        def __exit__(self, *why):
            told.append("closed")

    monkeypatch.setattr(meter, "bar", Bar)
    return told


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(meter, "PATIENCE", 0.0)
    monkeypatch.setattr(meter, "EVERY", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("make", [lambda: TensorData(X, Y), lambda: DatasetData(ITEMS)])
def test_every_row_that_is_read_moves_the_bar(moves, make):
    data = make()
    with with_progress(data, "Reading", 16, True) as told:
        assert type(told) is type(data)
        assert not told.augments
        for got, kept in zip(
            told.batches(walk(torch.arange(10), 4)),
            data.batches(walk(torch.arange(10), 4)),
            strict=True,
        ):
            assert torch.equal(got.inputs, kept.inputs)
        list(told.batches([torch.zeros(3, 6, dtype=torch.int64)]))  # of three members, each its own
    assert moves[0] == ("Reading", 16, True)
    assert moves[-1] == "closed"
    assert sum(moves[1:-1]) == 16
    before = list(moves)
    list(data.batches([torch.arange(3)]))  # the data itself tells nothing
    assert moves == before


@pytest.mark.usefixtures("impatient")
def test_nothing_is_shown_where_nothing_is_asked_for(moves):
    data = TensorData(X, Y)
    with with_progress(data, "Reading", 10, False) as told:
        assert told is data
        list(told.batches([torch.arange(10)]))
    assert moves == []


@pytest.mark.usefixtures("impatient")
def test_what_is_over_in_a_moment_shows_no_bar(moves, monkeypatch):
    monkeypatch.setattr(meter, "PATIENCE", 1000.0)
    with with_progress(TensorData(X, Y), "Reading", 10, True) as told:
        list(told.batches(walk(torch.arange(10), 1)))
    assert moves == []


@pytest.mark.usefixtures("impatient")
def test_the_bar_is_closed_where_reading_fails(moves):
    x = X.clone()
    x[3] = torch.nan
    reading = with_progress(TensorData(x, Y), "Reading", 10, True)
    with pytest.raises(BadInput, match="first row 3"), reading as told:
        list(told.batches(walk(torch.arange(10), 1)))
    assert moves[1:] == [1, 1, 1, 0, "closed"]


@pytest.mark.usefixtures("impatient")
def test_rows_are_told_at_intervals_and_none_is_lost(moves, monkeypatch):
    monkeypatch.setattr(meter, "EVERY", 10.0)
    clock = iter([0.0, *(float(k) for k in range(1, 26))])
    monkeypatch.setattr(meter, "perf_counter", lambda: next(clock))
    with with_progress(TensorData(X, Y), "Reading", 25, True) as told:
        list(told.batches(torch.tensor([k % 10]) for k in range(25)))
    assert moves[1:] == [10, 10, 5, "closed"]
