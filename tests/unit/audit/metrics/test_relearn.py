import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from expunge.audit.metrics.relearn import relearn_time
from expunge.errors import BadInput

law = settings(max_examples=60, deadline=None, derandomize=True, database=None)
INF = math.inf


def test_the_first_step_at_the_goal_counts():
    losses = torch.tensor([[3.0, 2, 1, 2, 0], [0, 9, 9, 9, 9], [5, 4, 3, 2.5, 2.1]])
    assert relearn_time(losses, torch.tensor([1.0, 0.0, 2.0])).tolist() == [2, 0, INF]
    assert relearn_time(losses, torch.tensor([0.5, -1.0, 4.5])).tolist() == [4, INF, 1]


def test_every_model_has_its_own_goal_and_the_tolerance_is_added():
    losses = torch.tensor([[1.0, 0.5], [1.0, 0.5]])
    assert relearn_time(losses, torch.tensor([0.5, 1.0])).tolist() == [1, 0]
    near = torch.tensor([0.5 - 1e-5, 0.5 - 3e-5], dtype=torch.float64)
    assert relearn_time(losses.double(), near).tolist() == [1, INF]
    assert relearn_time(losses, torch.tensor([0.25, 0.25]), tolerance=0.25).tolist() == [1, 1]
    assert relearn_time(losses, torch.tensor([0.5, 0.5]), tolerance=0).tolist() == [1, 1]


counts = arrays(np.int64, (4, 12), elements=st.integers(0, 9))


@law
@given(counts, arrays(np.int64, 4, elements=st.integers(-1, 9)))
def test_matches_a_loop_and_a_lower_goal_takes_longer(losses, goal):
    wanted = [
        next((step for step, value in enumerate(row) if value <= g), INF)
        for row, g in zip(losses.tolist(), goal.tolist(), strict=True)
    ]
    losses, goal = torch.from_numpy(losses).double(), torch.from_numpy(goal).double()
    found = relearn_time(losses, goal)
    assert found.tolist() == wanted
    assert found.dtype == torch.float64
    assert (relearn_time(losses, goal - 1) >= found).all()


def published(losses, goal):
    """The public rule: read, stop at the goal, else train, at most 100 times; print one more."""
    for reading in range(100):
        if losses[reading] <= goal + 1e-5:
            break
    return reading + 1


@pytest.mark.parametrize("at", [0, 1, 57, 98, 99, 100, 150, None])
def test_the_paper_convention_counts_readings_and_stops_at_100(at):
    losses = torch.ones(1, 160)
    if at is not None:
        losses[0, at:] = 0.5
    found = relearn_time(losses, torch.tensor([0.5]), convention="paper").item()
    assert found == published(losses[0].tolist(), 0.5)


def test_the_published_number_of_a_short_run_is_unknown():
    losses = torch.ones(2, 99)
    losses[0, 98] = 0
    found = relearn_time(losses, torch.zeros(2), convention="paper")
    assert found.tolist() == [99, INF]
    assert relearn_time(torch.ones(1, 100), torch.zeros(1), convention="paper").item() == 100


def test_a_run_that_diverges_has_not_come_back():
    losses = torch.tensor([[2.0, INF, INF], [2.0, INF, 0.0]])
    assert relearn_time(losses, torch.ones(2)).tolist() == [INF, 2]


def test_what_does_not_fit_is_refused():
    x = torch.ones(2, 3)
    for losses, goal in ((x[0], x[:, 0]), (x, x[0]), (x[:, :0], x[:, 0]), (x[:0], x[:0, 0])):
        with pytest.raises(BadInput, match="losses of shape"):
            relearn_time(losses, goal)
    with pytest.raises(BadInput, match="6 losses are NaN"):
        relearn_time(x * math.nan, x[:, 0])
    with pytest.raises(BadInput, match="2 goals not finite"):
        relearn_time(x, x[:, 0] * INF)
    with pytest.raises(BadInput, match="tolerance=-1"):
        relearn_time(x, x[:, 0], tolerance=-1)
    with pytest.raises(BadInput, match="convention 'published'"):
        relearn_time(x, x[:, 0], convention="published")
